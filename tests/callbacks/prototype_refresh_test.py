"""Prototypes follow the student: chosen before each epoch, resumed, refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill.callbacks import PrototypeRefresh
from keras_distill.methods.prototypes import select_prototypes
from tests.tiny_detector import STRIDES, TinyDetector, batches, scenes

PYRAMIDS = {"student_layer": "fpn", "teacher_layer": "fpn", "strides": STRIDES}


def distiller(student=None, teacher=None, eager=True, **kwargs):
    options = {
        "num_classes": 2,
        "instances": "boxes",
        "prototypes": 3,
        "level_base": 14.0,
        "min_side": 1.0,
    }
    method = kd.GlobalKnowledge(**{**options, **PYRAMIDS, **kwargs})
    model = kd.Distiller(
        student or TinyDetector(4),
        method,
        teacher=teacher or TinyDetector(6, name="teacher"),
    )
    # Eagerly, for tracing is all that these nets would cost.
    model.compile(keras.optimizers.SGD(0.05), run_eagerly=eager)
    return model


def prototypes(method):
    return {level: [np.array(x) for x in method.bank.read(level)] for level in STRIDES}


def same(ours, theirs):
    for level in STRIDES:
        for a, b in zip(ours[level], theirs[level], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def expected(model, data):
    """Prototypes of the models as they stand, instance by instance."""
    method = model.methods[0]
    found = {level: [] for level in STRIDES}
    for images, targets in data:
        targets = {key: np.array(x) for key, x in targets.items()}
        for level, stride in STRIDES.items():
            maps = [
                np.array(net.get_layer("fpn")(images)[level])
                for net in (model.student, model.teacher)
            ]
            for image, box in np.argwhere(targets["labels"] >= 0):
                x1, y1, x2, y2 = (targets["boxes"][image, box] // stride).astype(int)
                label = targets["labels"][image, box]
                row = [
                    m[image, y1 : y2 + 1, x1 : x2 + 1].mean((0, 1), dtype="f8")
                    for m in maps
                ]
                found[level].append((label, *row))
    out = {}
    for level, rows in found.items():
        labels, ours, theirs = (np.array(column) for column in zip(*rows, strict=True))
        places = [np.zeros((6, ours.shape[1])), np.zeros((6, theirs.shape[1]))]
        there = np.zeros(6, bool)
        for label in range(2):
            own = ours[labels == label], theirs[labels == label]
            chosen = select_prototypes(*own, method.prototypes)
            place = slice(3 * label, 3 * label + len(chosen))
            places[0][place], places[1][place] = (side[chosen] for side in own)
            there[place] = True
        out[level] = [*places, there]
    return out


class Watch(keras.callbacks.Callback):
    """Notes what stands at the beginning of each epoch, behind the refresh."""

    def __init__(self, look):
        super().__init__()
        self.look, self.seen = look, []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(self.look(self.model))


def test_prototypes_are_those_of_the_student_as_it_is_before_each_epoch():
    data = batches()
    model = distiller()
    watch = Watch(lambda m: (prototypes(m.methods[0]), expected(m, data)))
    model.fit(data.repeat(5), epochs=2, verbose=0, callbacks=[watch])
    for found, wanted in watch.seen:
        for level in STRIDES:
            for a, b in zip(found[level], wanted[level], strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    first, second = (found["P3"][0] for found, _ in watch.seen)
    assert np.abs(first - second).max() > 1e-4  # the student has moved


def test_features_are_those_of_inference_mode():
    """With batch statistics, instances and their prototypes would differ."""
    student = TinyDetector(4)
    noise = []

    class Noted(type(student.get_layer("fpn"))):
        def call(self, images, training=None):
            noise.append(training)
            return super().call(images)

    student.get_layer("fpn").__class__ = Noted
    model = distiller(student)
    noise.clear()
    refresh = PrototypeRefresh(model.methods[0], data=batches())
    refresh.set_model(model)
    refresh.set_params({"epochs": 1})
    refresh.on_train_begin()
    refresh.refresh()
    assert noise and not any(noise)


def test_attenuation_falls_and_the_method_waits_for_its_first_epoch():
    model = distiller(start_epoch=2)
    method = model.methods[0]
    watch = Watch(
        lambda m: (
            [float(v) for v in (method.active, method.attenuation)]
            + [bool(method.refreshed.numpy())]
        )
    )
    history = model.fit(batches(), epochs=4, verbose=0, callbacks=[watch]).history
    assert watch.seen == [
        [0.0, 1.0, False],
        [0.0, 1.0, False],
        [1.0, 0.5, True],
        [1.0, 0.25, True],
    ]
    assert history["loss"][:2] == pytest.approx(history["base_loss"][:2])
    assert history["loss"][2] > history["base_loss"][2]
    model = distiller(attenuate=False)
    model.fit(batches(), epochs=2, verbose=0)
    assert float(model.methods[0].attenuation) == 1.0


def counted(model):
    """A list that grows with each call of the teacher's pyramid."""
    calls = []
    level = model.teacher.get_layer("fpn")

    class Noted(type(level)):
        def call(self, images):
            tf.py_function(lambda: calls.append(1), [], [])
            return super().call(images)

    level.__class__ = Noted
    return calls


def test_the_teacher_is_asked_once_about_data_that_stay_the_same():
    calls = {}
    for given in (True, False):
        model = distiller()
        calls[given] = counted(model)
        data = batches() if given else None
        refresh = PrototypeRefresh(model.methods[0], data=data)
        model.fit(batches(), epochs=3, verbose=0, callbacks=[refresh])
    steps, passes = 3 * 3, 3
    assert len(calls[True]) == steps + passes
    assert len(calls[False]) == steps + 3 * passes


def test_data_that_change_are_refused():
    model = distiller()
    seeds = iter(range(100))

    def changing():
        images, targets = scenes(seed=next(seeds))
        yield images, targets

    spec = tf.data.Dataset.from_tensors(scenes()).element_spec
    data = tf.data.Dataset.from_generator(changing, output_signature=spec)
    refresh = PrototypeRefresh(model.methods[0], data=data)
    with pytest.raises(ValueError, match="same images and boxes in the same order"):
        model.fit(batches(), epochs=3, verbose=0, callbacks=[refresh])


def test_a_class_without_instances_has_no_prototypes_and_full_weight():
    images, targets = scenes()
    targets["labels"] = np.where(targets["labels"] == 1, 0, targets["labels"])
    one_class = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    model = distiller()
    refresh = PrototypeRefresh(model.methods[0], data=one_class)
    history = model.fit(batches(), epochs=2, verbose=0, callbacks=[refresh]).history
    assert refresh.counts.tolist() == [int((targets["labels"] == 0).sum()), 0]
    for *_, there in prototypes(model.methods[0]).values():
        assert there.tolist() == 3 * [True] + 3 * [False]
    assert np.isfinite(list(history.values())).all()
    assert history["global_knowledge_global"][-1] > 0


def test_a_tiny_class_has_as_many_prototypes_as_instances():
    images, targets = scenes()
    labels = np.where(targets["labels"] == 1, 0, targets["labels"])
    labels[3, 0] = 1
    targets["labels"] = labels
    model = distiller()
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    model.fit(data, epochs=1, verbose=0)
    for *_, there in prototypes(model.methods[0]).values():
        assert there.tolist() == 3 * [True] + [True, False, False]


def test_small_boxes_and_more_images_than_asked_for_are_left_out():
    model = distiller(min_side=10.0)
    refresh = PrototypeRefresh(model.methods[0], data=batches())
    model.fit(batches(), epochs=1, verbose=0, callbacks=[refresh])
    _, targets = scenes()
    sides = targets["boxes"][..., 2:] - targets["boxes"][..., :2]
    large = (sides > 10).all(-1)
    wanted = [int((large & (targets["labels"] == c)).sum()) for c in range(2)]
    assert refresh.counts.tolist() == wanted and sum(wanted) < (sides > 0).sum() / 2

    model = distiller()
    few = PrototypeRefresh(model.methods[0], data=batches(), max_images=2)
    model.fit(batches(), epochs=1, verbose=0, callbacks=[few])
    labels = targets["labels"]
    wanted = [
        int(sum(np.sort((labels == c).sum(1)[(labels == c).any(1)][:2])))
        for c in (0, 1)
    ]
    assert few.counts.tolist() == wanted
    least = PrototypeRefresh(model.methods[0], data=batches(), max_instances=3)
    model.fit(batches(), epochs=1, verbose=0, callbacks=[least])
    assert least.counts.tolist() == [3, 3]


def test_prototypes_may_be_refreshed_more_rarely():
    model = distiller()
    method = model.methods[0]
    refresh = PrototypeRefresh(method, data=batches(), every=2)
    watch = Watch(lambda m: prototypes(method)["P3"][0])
    model.fit(batches(), epochs=4, verbose=0, callbacks=[refresh, watch])
    seen = watch.seen
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[2], seen[3])
    assert not np.array_equal(seen[1], seen[2])


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            raise KeyboardInterrupt


@pytest.mark.parametrize("every", [1, 3])
def test_an_interrupted_run_goes_on_as_if_it_had_not_stopped(tmp_path, every):
    teacher = TinyDetector(6, name="teacher")

    def run(folder, callbacks=(), seed=7):
        keras.utils.set_random_seed(seed)
        model = distiller(teacher=teacher, eager=every == 3)
        refresh = PrototypeRefresh(model.methods[0], data=batches(), every=every)
        backup = keras.callbacks.BackupAndRestore(tmp_path / folder)
        callbacks = [refresh, backup, *callbacks]
        model.fit(batches(), epochs=4, verbose=0, callbacks=callbacks)
        return model

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", [Interrupt()])
    resumed = run("broken", seed=8)
    for ours, theirs in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_fit_can_be_called_epoch_by_epoch_and_with_arrays():
    model = distiller()
    method = model.methods[0]
    refresh = PrototypeRefresh(method, epochs=4)
    for epoch in range(2):
        model.fit(
            *scenes(),
            batch_size=4,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
            callbacks=[refresh],
        )
    assert float(method.attenuation) == 0.75
    assert refresh.counts.sum() == (scenes()[1]["labels"] >= 0).sum()


def test_another_teacher_is_asked_anew_and_the_same_one_is_not():
    model = distiller()
    refresh = PrototypeRefresh(model.methods[0], data=batches())
    model.fit(batches(), epochs=1, verbose=0, callbacks=[refresh])
    traced, first = refresh._forward, prototypes(model.methods[0])
    model.fit(batches(), epochs=1, verbose=0, callbacks=[refresh])
    assert refresh._forward is traced
    same_rows = [x[1] for x in (first["P3"], prototypes(model.methods[0])["P3"])]
    model.set_teacher(TinyDetector(6, name="other"))
    model.fit(batches(), epochs=1, verbose=0, callbacks=[refresh])
    theirs = prototypes(model.methods[0])["P3"][1]
    for rows in same_rows:
        assert not np.isin(theirs, rows).all()


def test_outside_fit_the_terms_are_zero_until_the_callback_runs():
    model = distiller()
    images, targets = scenes()
    logs = model.train_on_batch(images, targets, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["base_loss"], rel=1e-6)
    epochs = keras.callbacks.CallbackList(
        [PrototypeRefresh(model.methods[0], data=batches(), epochs=2)], model=model
    )
    epochs.on_train_begin()
    epochs.on_epoch_begin(0)
    logs = model.test_on_batch(images, targets, return_dict=True)
    assert logs["loss"] > logs["base_loss"] + 0.01


# What is refused.


def test_labels_beyond_the_classes_are_refused_before_the_first_step():
    images, targets = scenes()
    targets["labels"][5, 0] = 2
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    with pytest.raises(ValueError, match=r"lie in 0\.\.1.*label 2.*num_classes=2"):
        distiller().fit(data, epochs=1, verbose=0)


@pytest.mark.parametrize("fault", ["no label", "too small", "outside", "no area"])
def test_data_without_a_single_instance_are_refused(fault):
    images, targets = scenes()
    options = {"min_side": 1.0}
    if fault == "no label":
        targets["labels"][:] = -1
    elif fault == "too small":
        options = {"min_side": 40.0}
    elif fault == "outside":
        targets["boxes"] += 100
    else:
        targets["boxes"][..., 2] = targets["boxes"][..., 0]
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    with pytest.raises(ValueError, match="none that is within its image.*min_side="):
        distiller(**options).fit(data, epochs=1, verbose=0)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"every": 0}, ValueError, "1 or more.*every=0"),
        ({"max_images": 0}, ValueError, "1 or more.*max_images=0"),
        ({"max_instances": 0}, ValueError, "1 or more.*max_instances=0"),
        ({"epochs": 0}, ValueError, "1 or more.*epochs=0"),
        ({"data": [1]}, TypeError, "tf.data.Dataset.*data of type list"),
        ({"data": batches().repeat()}, ValueError, "must come to an end"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        PrototypeRefresh(None, **arguments)


def test_endless_training_data_need_data_of_their_own():
    endless = batches().repeat()
    with pytest.raises(ValueError, match=r"must come to an end.*data=\.\.\."):
        distiller().fit(endless, epochs=1, steps_per_epoch=2, verbose=0)
    model = distiller()
    refresh = PrototypeRefresh(model.methods[0], data=batches())
    model.fit(endless, epochs=1, steps_per_epoch=2, verbose=0, callbacks=[refresh])


def test_epochs_must_go_together():
    with pytest.raises(ValueError, match="begins after the last.*start_epoch=2"):
        distiller(start_epoch=2).fit(batches(), epochs=2, verbose=0)
    model = distiller()
    refresh = PrototypeRefresh(model.methods[0], epochs=2)
    with pytest.raises(ValueError, match=r"epochs=3, PrototypeRefresh\(epochs=2\)"):
        model.fit(batches(), epochs=3, verbose=0, callbacks=[refresh])
