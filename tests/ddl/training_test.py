"""Each step compares scores with the indicators of the rows that it shows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill.methods.ddl import discriminability
from tests.ddl.proxy import (
    compiled,
    dataset,
    embedder,
    patterns,
    scorer,
    values,
)
from tests.two_replicas import same_update

IMAGES, LABELS = patterns()
COUNT = len(IMAGES)


def indicators(ddl, images=IMAGES, labels=LABELS, **options):
    features = np.array(ddl.embedder(images, training=False))
    return discriminability(features, labels, **options).indicator


def spearman(a, b):
    ranks = [np.argsort(np.argsort(np.ravel(x))) for x in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


def test_a_step_lowers_the_squared_error_of_scores_and_indicators():
    ddl = compiled(keras.optimizers.SGD(0.5))
    wanted = indicators(ddl).astype("f4")[:, None]
    mine = keras.models.clone_model(ddl.scorer)
    mine.set_weights(ddl.scorer.get_weights())
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((mine(IMAGES, training=True) - wanted) ** 2)
        for v, g in zip(
            mine.trainable_variables,
            tape.gradient(loss, mine.trainable_variables),
            strict=True,
        ):
            v.assign_sub(0.5 * g)
    # One batch of all, in another order each time: rows tell which target is whose.
    history = ddl.fit(dataset(IMAGES, LABELS, COUNT), epochs=3, verbose=0).history
    assert history["loss"][-1] == pytest.approx(float(loss), rel=1e-4)
    for ours, theirs in zip(values(ddl.scorer), values(mine), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_is_logged_is_that_of_scores_and_indicators():
    ddl = compiled(metrics=["mae", keras.metrics.MeanSquaredError()])
    logs = ddl.evaluate(dataset(IMAGES, LABELS, COUNT), verbose=0, return_dict=True)
    scores, wanted = np.ravel(ddl(IMAGES)), indicators(ddl)
    assert logs == pytest.approx(
        {
            "loss": np.mean((scores - wanted) ** 2),
            "mae": np.mean(np.abs(scores - wanted)),
            "mean_squared_error": np.mean((scores - wanted) ** 2),
            "rank_correlation": spearman(scores, wanted),
        },
        rel=1e-4,
    )


def test_batches_weigh_by_their_valid_rows_in_the_rank_correlation():
    ddl = compiled(run_eagerly=True)
    data = dataset(IMAGES, LABELS, 20, shuffle=False)
    logs = ddl.evaluate(data, verbose=0, return_dict=True)
    scores, wanted = np.ravel(ddl(IMAGES)), indicators(ddl)
    parts = [spearman(scores[part], wanted[part]) for part in np.split(range(30), [20])]
    expected = np.average(parts, weights=[20, 10])
    assert logs["rank_correlation"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("leave_one_out", [False, True])
def test_a_row_alone_in_its_class_weighs_nothing(leave_one_out):
    images, labels = IMAGES[:25], LABELS[:25]  # of the last class one image
    options = {"leave_one_out": leave_one_out, "run_eagerly": True}
    ddl = compiled(metrics=["mae"], **options)
    weights = np.linspace(0, 2, 25, dtype="f4")
    data = dataset(images, labels, 25, weights=weights)
    logs = ddl.evaluate(data, verbose=0, return_dict=True)
    wanted = indicators(ddl, images, labels, leave_one_out=leave_one_out)
    apart = np.abs(np.ravel(ddl(images)) - wanted)[:24]
    assert logs["loss"] == pytest.approx(weights[:24] @ apart**2 / 25, rel=1e-4)
    assert logs["mae"] == pytest.approx(
        np.average(apart, weights=weights[:24]), rel=1e-4
    )
    counted = slice(1, 24)  # the first has the sample weight 0
    expected = spearman(np.ravel(ddl(images))[counted], wanted[counted])
    assert logs["rank_correlation"] == pytest.approx(expected, rel=1e-4)
    history = ddl.fit(data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_any_loss_of_keras_takes_the_place_of_the_squared_error():
    data = dataset(IMAGES, LABELS, COUNT)
    by_name = compiled(loss="binary_crossentropy", run_eagerly=True)
    loss = by_name.evaluate(data, verbose=0, return_dict=True)["loss"]
    scores, wanted = np.ravel(by_name(IMAGES)), indicators(by_name)
    expected = -np.mean(wanted * np.log(scores) + (1 - wanted) * np.log(1 - scores))
    assert loss == pytest.approx(expected, rel=1e-4)
    huber = compiled(loss=keras.losses.Huber(0.1), run_eagerly=True)
    loss = huber.evaluate(data, verbose=0, return_dict=True)["loss"]
    apart = np.abs(np.ravel(huber(IMAGES)) - indicators(huber))
    expected = np.where(apart < 0.1, apart**2 / 2, 0.1 * apart - 0.005).mean()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_regularisers_of_the_scorer_count_and_those_of_the_embedder_do_not():
    net = embedder(extra=layers.Dense(8, kernel_regularizer=keras.regularizers.L2(3.0)))
    score = scorer(regularizer=keras.regularizers.L2(0.1))
    ddl = compiled(embed=net, score=score, run_eagerly=True)
    logs = ddl.evaluate(dataset(IMAGES, LABELS, COUNT), verbose=0, return_dict=True)
    kernel = np.array(ddl.scorer.layers[2].kernel)
    expected = np.mean((np.ravel(ddl(IMAGES)) - indicators(ddl)) ** 2)
    expected += 0.1 * np.sum(kernel**2)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_the_embedder_stays_as_it_is_to_the_last_bit():
    ddl = compiled(keras.optimizers.AdamW(1e-2, weight_decay=0.5))
    before, scored = values(ddl.embedder), values(ddl.scorer)
    data = dataset(IMAGES, LABELS)
    ddl.fit(data, epochs=2, validation_data=data, verbose=0)
    ddl.evaluate(data, verbose=0)
    for old, new in zip(before, values(ddl.embedder), strict=True):
        np.testing.assert_array_equal(old, new)
    for old, new in zip(scored, values(ddl.scorer), strict=True):
        assert np.any(old != new)


@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"steps_per_execution": 2}, {"run_eagerly": True}],
    ids=lambda options: next(iter(options)),
)
def test_every_way_to_run_a_step_gives_the_same_update(options):
    net = scorer()
    other = keras.models.clone_model(net)
    other.set_weights(net.get_weights())
    shared = embedder()
    data = dataset(IMAGES, LABELS, 15, shuffle=False)
    for score, option in ((net, {"jit_compile": False}), (other, options)):
        ddl = compiled(embed=shared, score=score, **option)
        ddl.fit(data, epochs=2, verbose=0)
    for ours, theirs in zip(values(net), values(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-5)


def test_a_proxy_set_of_another_size_needs_no_second_trace():
    traces = []

    def loss(wanted, scores):
        traces.append(wanted.shape)
        return keras.losses.mean_squared_error(wanted, scores)

    ddl = compiled(loss=loss)
    ddl.fit(dataset(IMAGES, LABELS, 6), verbose=0)
    first = len(traces)
    ddl.fit(dataset(IMAGES[:18], LABELS[:18], 6), verbose=0)
    assert len(traces) == first


class Begun(kd.callbacks.DiscriminabilityTargets):
    count = 0

    def on_train_begin(self, logs=None):
        Begun.count += 1
        super().on_train_begin(logs)


@pytest.mark.parametrize("kind", ["none", "one", "list", "CallbackList", "own"])
def test_fit_brings_the_targets_unless_they_are_given(kind, monkeypatch):
    monkeypatch.setattr("keras_distill.ddl.DiscriminabilityTargets", Begun)
    ddl, data = compiled(run_eagerly=True), dataset(IMAGES, LABELS)
    given = {
        "none": None,
        "one": keras.callbacks.History(),
        "list": [keras.callbacks.History()],
        "CallbackList": keras.callbacks.CallbackList([], add_history=True, model=ddl),
        "own": [keras.callbacks.History(), Begun(data)],
    }[kind]
    Begun.count = 0
    ddl.fit(data, None, None, 1, 0, given)
    assert Begun.count == 1


def test_targets_are_there_before_the_callbacks_given_to_fit_begin():
    ddl, found = compiled(run_eagerly=True), []
    mine = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: found.append(
            ddl.test_on_batch({"image": IMAGES, "row": np.arange(COUNT)}, LABELS)
        )
    )
    data = dataset(IMAGES, LABELS)
    ddl.fit(data, validation_data=data, callbacks=[mine], verbose=0)
    assert np.isfinite(found).all() and len(found) == 1


def test_a_data_set_without_an_end_trains_beside_the_finite_one():
    ddl, data = compiled(), dataset(IMAGES, LABELS)
    targets = kd.callbacks.DiscriminabilityTargets(proxy=data)
    history = ddl.fit(
        data.repeat(), steps_per_epoch=3, epochs=2, callbacks=[targets], verbose=0
    ).history
    assert len(history["loss"]) == 2 and int(ddl.optimizer.iterations) == 6
    np.testing.assert_allclose(targets.indicator, indicators(ddl), rtol=1e-4)
    with pytest.raises(ValueError, match=r"must come to an end.*\(proxy=...\)"):
        ddl.fit(data.repeat(), steps_per_epoch=3, verbose=0)


def test_a_loop_of_batches_begins_with_the_targets():
    ddl = compiled()
    batch = {"image": IMAGES[:9], "row": np.arange(9)}
    with pytest.raises(tf.errors.InvalidArgumentError, match="No target was computed"):
        ddl.train_on_batch(batch, LABELS[:9])
    ddl.take_targets(dataset(IMAGES, LABELS))
    losses = [ddl.train_on_batch(batch, LABELS[:9], return_dict=True) for _ in "123"]
    assert np.isfinite([loss["loss"] for loss in losses]).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="No target was computed"):
        ddl.test_on_batch(batch, LABELS[:9])


def test_an_interrupted_run_resumes_from_a_backup_without_a_first_call(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def run(folder, callbacks=()):
        keras.utils.set_random_seed(7)
        ddl = compiled()
        backup = keras.callbacks.BackupAndRestore(folder)
        data = dataset(IMAGES, LABELS, shuffle=False)
        ddl.fit(data, epochs=4, verbose=0, callbacks=[backup, *callbacks])
        return ddl

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", [Interrupt()])
    resumed = run(tmp_path / "broken")
    assert int(resumed.optimizer.iterations) == 16
    for ours, theirs in zip(values(whole), values(resumed), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_two_replicas_make_the_update_of_one():
    same_update(
        """
        from tests.ddl import proxy

        def run(strategy):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                images = keras.Input(proxy.SHAPE)
                x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
                score = layers.Dense(1, activation="sigmoid")(x)
                ddl = proxy.compiled(
                    keras.optimizers.SGD(0.5), score=keras.Model(images, score)
                )
            data = proxy.dataset(*proxy.patterns(), 10, shuffle=False)
            history = ddl.fit(data, epochs=2, validation_data=data, verbose=0).history
            return history, proxy.values(ddl)
        """
    )
