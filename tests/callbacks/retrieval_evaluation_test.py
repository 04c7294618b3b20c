import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.callbacks import RetrievalEvaluation
from keras_distill.data.image_set import ImageSet
from keras_distill.metrics import embed, retrieval_report

rng = np.random.default_rng(0)
LABELS = np.arange(40, dtype=np.int32) % 8
COARSE = rng.integers(0, 256, size=(8, 6, 6, 1))
IMAGES = np.clip(COARSE[LABELS] + rng.normal(0, 90, (40, 6, 6, 1)), 0, 255)
IMAGES = IMAGES.astype(np.uint8)
TARGETS = rng.normal(size=(40, 3)).astype(np.float32)
NAMES = ["recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r", "nmi"]


def embedder(dropout=0.3):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((6, 6, 1)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            layers.Dense(3),
        ]
    )


def batches():
    data = tf.data.Dataset.from_tensor_slices((IMAGES.astype("float32"), TARGETS))
    return data.batch(8, drop_remainder=True)


def trained(callbacks, epochs=2, model=None, **compile_arguments):
    model = model or embedder()
    model.compile(keras.optimizers.Adam(0.01), "mse", **compile_arguments)
    model.fit(batches(), epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
    return model


class Logs(keras.callbacks.Callback):
    """What a callback listed after the evaluation sees."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(dict(logs))


@pytest.mark.parametrize(
    "gallery",
    [
        (IMAGES, LABELS),
        tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(16),
        ImageSet(IMAGES, LABELS),
    ],
    ids=["arrays", "dataset", "image set"],
)
def test_logs_the_report_of_the_model_as_it_is_after_the_epoch(gallery):
    evaluation, seen = RetrievalEvaluation(gallery, batch_size=16), Logs()
    model = trained([evaluation, seen])
    expected = retrieval_report(*embed(model, (IMAGES, LABELS)))
    assert list(expected) == NAMES
    for name in NAMES:
        assert [row[f"val_{name}"] for row in seen.rows] == evaluation.history[name]
        assert model.history.history[f"val_{name}"] == evaluation.history[name]
    assert evaluation.last == pytest.approx(expected)
    assert evaluation.history["epoch"] == [0, 1]
    assert seen.rows[0] != seen.rows[1]


def test_takes_queries_names_and_metrics_of_its_own():
    queries = IMAGES[::3], LABELS[::3]
    evaluation = RetrievalEvaluation(
        (IMAGES, LABELS), queries, (1, 5), False, 1, 256, "unseen_", "euclidean"
    )
    model = trained([evaluation], epochs=1)
    rows, labels = embed(model, (IMAGES, LABELS))
    expected = retrieval_report(
        rows, labels, (1, 5), *embed(model, queries), "euclidean", nmi=False
    )
    assert evaluation.last == pytest.approx(expected)
    names = {"loss", "unseen_recall_at_1", "unseen_recall_at_5", "unseen_map_at_r"}
    assert set(model.history.history) == names


@pytest.mark.parametrize("compile_arguments", [{}, {"steps_per_execution": 2}])
def test_training_goes_on_as_if_nothing_had_been_measured(compile_arguments):
    np.random.seed(5)
    plain = trained([], **compile_arguments)
    numbers = np.random.random(3)
    np.random.seed(5)
    evaluation = RetrievalEvaluation((IMAGES, LABELS), batch_size=16)
    measured = trained([evaluation], **compile_arguments)
    np.testing.assert_array_equal(np.random.random(3), numbers)
    for ours, theirs in zip(measured.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert evaluation.history["epoch"] == [0, 1]


def test_works_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = embedder()
    finally:
        keras.config.set_dtype_policy("float32")
    evaluation = RetrievalEvaluation((IMAGES, LABELS))
    trained([evaluation], model=model)
    assert np.isfinite(list(evaluation.last.values())).all()


def test_measures_the_student_of_a_distiller():
    from keras_distill import Distiller
    from keras_distill.losses import MultiSimilarity

    student = keras.Sequential(
        [keras.layers.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    distiller = Distiller(student)
    distiller.compile("adam", loss=MultiSimilarity())
    evaluation = RetrievalEvaluation((IMAGES, LABELS))
    data = tf.data.Dataset.from_tensor_slices((IMAGES.astype("float32"), LABELS))
    distiller.fit(data.batch(20), epochs=1, verbose=0, callbacks=[evaluation])
    expected = retrieval_report(*embed(student, (IMAGES, LABELS)))
    assert evaluation.last == pytest.approx(expected)


def test_the_callbacks_after_it_act_on_it(tmp_path):
    evaluation, name = RetrievalEvaluation((IMAGES, LABELS)), "val_recall_at_1"
    best = tmp_path / "best.keras"
    stop = keras.callbacks.EarlyStopping(name, mode="max", patience=0, min_delta=2.0)
    model = trained(
        [
            evaluation,
            keras.callbacks.ModelCheckpoint(
                best, name, mode="max", save_best_only=True
            ),
            keras.callbacks.CSVLogger(tmp_path / "history.csv"),
            keras.callbacks.TensorBoard(tmp_path / "board", write_graph=False),
            stop,
        ],
        epochs=9,
    )
    history = evaluation.history["recall_at_1"]
    assert len(history) == 2 and stop.stopped_epoch == 1  # nothing gains 2.0
    saved = keras.saving.load_model(best)
    value = retrieval_report(*embed(saved, (IMAGES, LABELS)))["recall_at_1"]
    assert value == max(history)
    with open(tmp_path / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row[name]) for row in rows] == model.history.history[name]
    written = [p for p in (tmp_path / "board").rglob("*events*") if p.is_file()]
    assert any(b"epoch_recall_at_1" in path.read_bytes() for path in written)


def test_repeats_the_last_figures_between_its_epochs(tmp_path):
    evaluation, seen = RetrievalEvaluation((IMAGES, LABELS), every=3), Logs()
    best = tmp_path / "{epoch}.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(
        best, "val_map_at_r", mode="max", save_best_only=True
    )
    log = keras.callbacks.CSVLogger(tmp_path / "history.csv")
    trained([evaluation, seen, checkpoint, log], epochs=7)
    assert evaluation.history["epoch"] == [0, 2, 5, 6]
    values = evaluation.history["map_at_r"]
    logged = [row["val_map_at_r"] for row in seen.rows]
    assert logged == [*values[:1] * 2, *values[1:2] * 3, *values[2:]]
    saved = {int(path.stem) for path in tmp_path.glob("*.keras")}
    assert saved <= {1, 3, 6, 7} and saved


def test_a_second_fit_begins_anew():
    evaluation = RetrievalEvaluation((IMAGES, LABELS), every=5)
    model = trained([evaluation], epochs=1)
    first = evaluation.last
    more = dict(initial_epoch=1, epochs=4, shuffle=False, verbose=0)
    model.fit(batches(), callbacks=[evaluation], **more)
    assert evaluation.history["epoch"] == [1, 3] and evaluation.last != first


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"every": 0}, "`every` must be a positive integer.*every=0"),
        ({"batch_size": 2.5}, "`batch_size` must be a positive.*batch_size=2.5"),
        ({"ks": (1, 0)}, r"`k` must be a positive integer.*k=\(1, 0\)"),
        ({"metric": "dot"}, "`metric` must be one of.*'dot'"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        RetrievalEvaluation((IMAGES, LABELS), **arguments)
