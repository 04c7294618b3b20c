"""The teacher of an epoch is the student as the epoch before left it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill.callbacks import StudentSnapshot

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(8, 5)).astype("f4")
LABELS = np.repeat(np.arange(4), 2).astype("i4")
DATA = tf.data.Dataset.from_tensors((ROWS, LABELS)).repeat(2)


class Learner:
    """What the callback needs of a method, and no more."""

    def __init__(self, taken=0):
        self.ramp = keras.Variable(0.0)
        self.taken = keras.Variable(taken, dtype="int32")
        self.events = []

    def take_snapshot(self):
        self.events.append("taken")
        self.taken.assign(1)


def fit(learner, given=None, **kwargs):
    """`fit` of a model that is none of the library's, noting the ramp of each step."""
    callback = StudentSnapshot(learner) if given is None else given
    note = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: learner.events.append(
            float(learner.ramp)
        )
    )
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(DATA, verbose=0, shuffle=False, callbacks=[callback, note], **kwargs)
    return learner.events


def test_the_ramp_is_a_step_function_that_starts_at_zero_and_misses_one():
    events = fit(Learner(), epochs=4)
    steps = [event for event in events if event != "taken"]
    assert steps == [0.0, 0.0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75]


def test_the_student_is_copied_at_the_end_of_each_epoch():
    events = fit(Learner(), epochs=2)
    assert events == [0.0, 0.0, "taken", 0.5, 0.5, "taken"]


def test_epoch_by_epoch_it_has_to_be_told_how_many_there_will_be():
    learner = Learner()
    told = StudentSnapshot(learner, epochs=4)
    for epoch in range(4):
        fit(learner, told, initial_epoch=epoch, epochs=epoch + 1)
    assert learner.events == fit(Learner(), epochs=4)


def test_a_resumed_run_keeps_the_copy_that_it_has():
    events = fit(Learner(taken=1), initial_epoch=2, epochs=3)
    assert events == pytest.approx([2 / 3, 2 / 3, "taken"])


def test_a_resumed_run_without_a_copy_begins_with_the_student_as_it_stands():
    events = fit(Learner(taken=0), initial_epoch=2, epochs=3)
    assert events == pytest.approx(["taken", 2 / 3, 2 / 3, "taken"])


def test_a_backup_within_an_epoch_keeps_the_teacher_of_that_epoch(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 3:
                raise KeyboardInterrupt

    def run(*callbacks):
        method = kd.OBDSD()
        distiller = kd.Distiller(net(), [method])
        distiller.compile("adam", kd.losses.MultiSimilarity(epsilon=None))
        copies = []
        backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
        note = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: copies.append(
                method.snapshot.get_weights()
            )
        )
        callbacks = [backup, note, *callbacks]
        try:
            distiller.fit(DATA, epochs=2, callbacks=callbacks, verbose=0)
        except KeyboardInterrupt:
            pass
        return copies

    broken, resumed = run(Interrupt()), run()
    assert len(broken) == 3 and len(resumed) == 2
    for kept, before in zip(resumed[0], broken[2], strict=True):
        np.testing.assert_array_equal(kept, before)


def net():
    inputs = keras.Input((5,))
    x = keras.layers.Dense(3)(inputs)
    return keras.Model(inputs, kd.layers.L2Normalization()(x))


def test_fit_adds_one_before_the_callbacks_that_save(tmp_path):
    method = kd.OBDSD()
    distiller = kd.Distiller(net(), [method])
    distiller.compile("adam", kd.losses.MultiSimilarity(epsilon=None))
    copies = []

    def compare(epoch, logs):
        copies.append((distiller.student.get_weights(), method.snapshot.get_weights()))

    mine = keras.callbacks.LambdaCallback(on_epoch_end=compare)
    distiller.fit(DATA, epochs=2, callbacks=[mine], verbose=0)
    for students, copied in copies:
        for a, b in zip(students, copied, strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.any(copies[0][0][0] != copies[1][0][0])
    assert float(method.ramp) == 0.5

    told = StudentSnapshot(method, epochs=10)
    distiller.fit(DATA, initial_epoch=1, epochs=2, callbacks=[told], verbose=0)
    assert float(method.ramp) == pytest.approx(0.1)


@pytest.mark.parametrize("with_callback", [True, False])
def test_a_loop_of_train_on_batch_has_to_run_it(with_callback):
    method = kd.OBDSD()
    distiller = kd.Distiller(net(), [method])
    distiller.compile("adam", kd.losses.MultiSimilarity(epsilon=None))
    snapshot = [StudentSnapshot(method, epochs=3)] * with_callback
    epochs = keras.callbacks.CallbackList(snapshot, model=distiller)
    epochs.on_train_begin()
    terms, ramps = [], []
    for epoch in range(3):
        epochs.on_epoch_begin(epoch)
        distiller.reset_metrics()
        for images, labels in DATA:
            logs = distiller.train_on_batch(images, labels, return_dict=True)
        terms.append(float(logs["obd_sd_distillation"]))
        ramps.append(float(method.ramp))
        epochs.on_epoch_end(epoch)
    epochs.on_train_end()
    if not with_callback:
        assert terms == ramps == [0, 0, 0]
    else:
        assert terms[0] == 0 and min(terms[1:]) > 1e-6
        assert ramps == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.mark.parametrize(
    "given, epochs, message",
    [
        (None, 1, "2 or more: .*no teacher.* Give `fit` the epochs; .*epochs=1$"),
        (3, 4, r"not go beyond.*epochs=4, StudentSnapshot\(epochs=3\)"),
    ],
)
def test_refuses_a_fit_that_its_ramp_does_not_fit(given, epochs, message):
    learner = Learner()
    with pytest.raises(ValueError, match=message):
        fit(learner, StudentSnapshot(learner, given), epochs=epochs)


def test_refuses_a_fit_that_does_not_say_how_long_it_is():
    callback = StudentSnapshot(Learner())
    with pytest.raises(ValueError, match="Give `fit` the epochs.*epochs=None"):
        callback.on_train_begin()


@pytest.mark.parametrize("epochs", [1, 0, 2.5, True])
def test_refuses_a_number_of_epochs_that_is_none(epochs):
    with pytest.raises(ValueError, match=f"2 or more: each epoch.*epochs={epochs}"):
        StudentSnapshot(Learner(), epochs)
