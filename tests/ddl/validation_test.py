"""Data that are held out have indicators of their own, in `fit` and beside it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.callbacks import DiscriminabilityTargets
from keras_distill.methods.ddl import discriminability
from tests.ddl.proxy import compiled, dataset, patterns

IMAGES, LABELS = patterns()
# Fewer rows, of other classes.
HELD_OUT = patterns(classes=3, per_class=5, seed=1)


def error(ddl, images, labels):
    features = np.array(ddl.embedder(images, training=False))
    wanted = discriminability(features, labels).indicator
    return np.mean((np.ravel(ddl(images)) - wanted) ** 2)


@pytest.mark.parametrize("eager", [False, True])
def test_fit_validates_with_the_indicators_of_the_validation_data(eager):
    ddl = compiled(run_eagerly=eager)
    history = ddl.fit(
        dataset(IMAGES, LABELS),
        validation_data=dataset(*HELD_OUT, 15),
        epochs=2,
        verbose=0,
    ).history
    expected = error(ddl, *HELD_OUT)
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-4)
    assert history["val_loss"][0] != history["val_loss"][1]
    assert "val_rank_correlation" in history


@pytest.mark.parametrize("when", ["before fit", "after fit", "loaded"])
def test_evaluate_computes_the_indicators_of_its_data(when, tmp_path):
    ddl = compiled(run_eagerly=True)
    if when != "before fit":
        ddl.fit(dataset(IMAGES, LABELS), verbose=0)
    if when == "loaded":
        ddl.save(tmp_path / "ddl.keras")
        ddl = keras.models.load_model(tmp_path / "ddl.keras")
    logs = ddl.evaluate(dataset(*HELD_OUT), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(error(ddl, *HELD_OUT), rel=1e-4)
    logs = ddl.evaluate(x=dataset(IMAGES, LABELS), verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(error(ddl, IMAGES, LABELS), rel=1e-4)


def test_other_data_may_be_evaluated_while_fit_validates():
    ddl = compiled(run_eagerly=True)
    found = []

    def evaluate(epoch, logs):
        other = ddl.evaluate(dataset(IMAGES, LABELS), verbose=0, return_dict=True)
        found.append((other["loss"], error(ddl, IMAGES, LABELS)))

    history = ddl.fit(
        dataset(IMAGES, LABELS),
        validation_data=dataset(*HELD_OUT, 15),
        epochs=2,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=evaluate)],
        verbose=0,
    ).history
    for loss, expected in found:
        assert loss == pytest.approx(expected, rel=1e-4)
    expected = error(ddl, *HELD_OUT)
    assert history["val_loss"][1] == pytest.approx(expected, rel=1e-4)


def test_evaluate_leaves_the_targets_of_loops_of_batches():
    ddl = compiled(run_eagerly=True)
    ddl.take_targets(dataset(IMAGES, LABELS))
    ddl.take_targets(dataset(*HELD_OUT), held_out=True)
    batch = {"image": HELD_OUT[0], "row": np.arange(15)}
    before = ddl.test_on_batch(batch, HELD_OUT[1])
    ddl.evaluate(dataset(IMAGES, LABELS), verbose=0)
    assert ddl.test_on_batch(batch, HELD_OUT[1]) == before
    batch = {"image": IMAGES, "row": np.arange(len(IMAGES))}
    assert np.isfinite(ddl.train_on_batch(batch, LABELS)).all()


def test_validation_data_without_an_end_need_the_finite_ones():
    ddl, train = compiled(run_eagerly=True), dataset(IMAGES, LABELS)
    held_out = dataset(*HELD_OUT, 15)
    options = {"validation_data": held_out.repeat(), "validation_steps": 1}
    with pytest.raises(ValueError, match="`validation` must come to an end"):
        ddl.fit(train, verbose=0, **options)
    with pytest.raises(ValueError, match="`validation` must come to an end"):
        ddl.fit(train, callbacks=[DiscriminabilityTargets(train)], **options)
    targets = DiscriminabilityTargets(train, validation=held_out)
    history = ddl.fit(train, callbacks=[targets], verbose=0, **options).history
    expected = error(ddl, *HELD_OUT)
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-4)


def test_refuses_to_evaluate_data_without_an_end():
    with pytest.raises(ValueError, match="`dataset` must come to an end"):
        compiled().evaluate(dataset(*HELD_OUT).repeat(), steps=1)


@pytest.mark.parametrize(
    "data, kind, message",
    [
        (HELD_OUT, TypeError, "`validation_data` must be a tf.data.Dataset.*tuple"),
        (
            tf.data.Dataset.from_tensors(HELD_OUT),
            ValueError,
            "`validation_data` must be .*Received: validation_data.element_spec",
        ),
    ],
    ids=["arrays", "without rows"],
)
def test_refuses_validation_data_without_rows(data, kind, message):
    with pytest.raises(kind, match=message):
        compiled().fit(dataset(IMAGES, LABELS), validation_data=data, verbose=0)


def test_a_checkpoint_can_follow_the_rank_correlation(tmp_path):
    path = tmp_path / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor="val_rank_correlation", mode="max", save_best_only=True
    )
    compiled(run_eagerly=True).fit(
        dataset(IMAGES, LABELS),
        validation_data=dataset(*HELD_OUT),
        callbacks=[checkpoint],
        verbose=0,
    )
    assert path.exists()
