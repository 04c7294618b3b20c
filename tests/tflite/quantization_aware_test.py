import importlib

import keras
import numpy as np
import pytest
from keras import layers

from keras_distill import tflite
from keras_distill.device.embedder import Embedder
from keras_distill.layers import L2Normalization
from keras_distill.tflite import quantization_aware
from keras_distill.tflite.rounded_trunk import RoundedTrunk
from keras_distill.tflite.trunk_of import trunk_of
from tests import tiny_embedder

# `keras_distill.tflite.quantization_aware` is the function of this name.
module = importlib.import_module("keras_distill.tflite.quantization_aware")


def by_keras(student, images):
    return np.asarray(student(images.astype("float32"), training=False))


def mean_cosine(student, model, images):
    return np.mean(np.sum(Embedder(model).embed(images) * by_keras(student, images), 1))


def coarse():
    """A student that rounding harms: one channel has a hundred times the range."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 1))
    x = layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = layers.Conv2D(8, 3, 2, use_bias=False, name="first")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU()(x)
    second = layers.Conv2D(8, 3, 2, activation="relu", name="second")
    x = layers.GlobalAveragePooling2D()(second(x))
    x = layers.Dense(16, name="projection")(x)
    student = keras.Model(inputs, L2Normalization()(x))
    factors = np.array([60.0, *[0.6] * 7])
    student.get_layer("bn").gamma.assign(factors)
    # What comes of it weighs as much as the others do.
    second.kernel.assign(second.kernel / factors[:, None])
    return student


def test_without_rounding_it_is_the_trunk():
    for student in (coarse(), *map(tiny_embedder.student, ("separable", "conv4"))):
        before, trunk, _ = trunk_of(student)
        pixels = before(tiny_embedder.images()[0].astype("float32"))
        rounded = RoundedTrunk(trunk)
        found = rounded._run(pixels, lambda name, value: value)[rounded._end]
        np.testing.assert_allclose(found, trunk(pixels), atol=2e-5)


@pytest.mark.parametrize("backbone", ["separable", "conv4"])
def test_its_rounding_is_that_of_the_file(backbone):
    student, images = tiny_embedder.student(backbone), tiny_embedder.images()[0]
    before, trunk, after = trunk_of(student)
    rounded = RoundedTrunk(trunk)
    rounded.measure(before(tiny_embedder.calibration().astype("float32")))
    simulated = np.asarray(after(rounded(before(images.astype("float32")))))
    file = Embedder(tiny_embedder.converted("int8", backbone)).embed(images)
    apart = 1 - np.mean(np.sum(simulated * file, axis=1))
    lost = 1 - np.mean(np.sum(by_keras(student, images) * file, axis=1))
    # What is left are ties and the order of sums. With an error of its own, two
    # that know nothing of each other, it would be more than what the file lost.
    assert apart < 0.7 * lost


def test_training_with_rounding_brings_the_int8_file_nearer_to_the_student():
    student, steps = coarse(), []
    images, calibration = tiny_embedder.images()[0], tiny_embedder.calibration()
    taught = quantization_aware(
        student,
        calibration,
        epochs=15,
        progress=lambda *step: steps.append(step),
    )
    before, after = (
        mean_cosine(student, tflite.convert(some, "int8", calibration), images)
        for some in (student, taught.student)
    )
    assert before < 0.96 and 1 - after < 0.3 * (1 - before)
    assert steps[0] == (1, 30) and steps[-1] == (30, 30)
    assert taught.trained and taught.student is not student
    # The images kept from training are like those of other classes.
    assert taught.cosine_before == pytest.approx(before, abs=0.01)
    assert taught.cosine_after == pytest.approx(after, abs=0.005)


@pytest.mark.parametrize("learning_rate, trained", [(1e-4, True), (0.3, False)])
def test_the_better_is_kept_by_files_on_images_that_took_no_part(
    learning_rate, trained, monkeypatch
):
    student, images = coarse(), tiny_embedder.calibration()
    seen, given, files = [], [], []
    teach, cosine, write = module._taught, module._cosine, module.from_keras

    def taught(student, images, targets, learnt, *others):
        seen.append(learnt)
        return teach(student, images, targets, learnt, *others)

    def measured(network, images, held_out, targets):
        given.append((network, held_out))
        return cosine(network, images, held_out, targets)

    def from_keras(*arguments):
        files.append(write(*arguments))
        return files[-1]

    monkeypatch.setattr(module, "from_keras", from_keras)
    monkeypatch.setattr(module, "_taught", taught)
    monkeypatch.setattr(module, "_cosine", measured)
    found = quantization_aware(student, images, epochs=3, learning_rate=learning_rate)
    assert found.trained is trained
    assert (found.student is student) is not trained
    assert (found.cosine_after > found.cosine_before) is trained
    assert (found.images, found.held_out) == (96, 24)
    (learnt,), ((first, held_out), (second, again)) = seen, given
    assert sorted([*learnt, *held_out]) == [*range(120)] and [*held_out] == [*again]
    assert first is student and (found.student is second) is trained
    for file, said in zip(
        files, (found.cosine_before, found.cosine_after), strict=True
    ):
        expected = mean_cosine(student, file, images[held_out])
        assert said == pytest.approx(expected, abs=1e-6)
    assert found.facts() == {
        "trained": trained,
        "cosine_before": found.cosine_before,
        "cosine_after": found.cosine_after,
        "images": 96,
        "held_out": 24,
    }
    assert ("is the trained student" in str(found)) is trained


def test_a_file_of_a_student_that_training_does_not_help_is_that_of_int8(monkeypatch):
    student, calibration = coarse(), tiny_embedder.calibration()
    monkeypatch.setattr(module, "_taught", lambda *_: student)
    monkeypatch.setattr(module, "_cosine", lambda *_: 0.9)  # and 0.9 is not nearer
    with pytest.warns(UserWarning, match="as it was: the file is that of mode 'int8'"):
        model = tflite.convert(student, "int8-qat", calibration)
    assert model == tflite.convert(student, "int8", calibration)


def test_kernels_learn_and_normalisation_and_the_student_are_left_alone():
    student = coarse()
    weights = [w.copy() for w in student.get_weights()]
    calibration = tiny_embedder.calibration()[:64]
    taught = quantization_aware(student, calibration, epochs=1).student
    assert taught is not student
    for before, weight in zip(weights, student.get_weights(), strict=True):
        np.testing.assert_array_equal(before, weight)
    kept = []
    for layer, other in zip(student.layers, taught.layers, strict=True):
        assert type(layer) is type(other)
        for old, new in zip(layer.get_weights(), other.get_weights(), strict=True):
            moved = np.abs(old - new).max()
            # The first step of Adam is its rate, wherever there is a gradient.
            assert moved == 0 or 5e-5 < moved < 1.5e-4
            kept += [moved == 0]
    # Of normalisation the factor, mean and variance; not the offset, a bias.
    assert kept == [False, True, False, True, True, False, False, False, False]
    images = tiny_embedder.images()[0]
    cosines = np.sum(by_keras(student, images) * by_keras(taught, images), axis=1)
    assert cosines.min() > 0.99


def test_convert_does_it_and_the_file_is_an_int8_one(monkeypatch):
    student, calibration = coarse(), tiny_embedder.calibration()
    # Which is nearer is tested above.
    monkeypatch.setattr(module, "_cosine", lambda network, *_: network is not student)
    model = tflite.convert(student, "int8-qat", calibration)
    taught = quantization_aware(student, calibration).student
    images = tiny_embedder.images()[0]
    by_hand = Embedder(tflite.convert(taught, "int8", calibration)).embed(images)
    assert np.sum(Embedder(model).embed(images) * by_hand, axis=1).min() > 0.999
    limits = {"min_cosine_mean": 0.9, "min_cosine": 0.7}
    tflite.verify(model, student, images, "int8-qat", **limits)
    assert model != tflite.convert(student, "int8", calibration)


def test_refuses_and_says_what_it_got():
    student, images = coarse(), tiny_embedder.calibration()
    with pytest.raises(ValueError, match="positive integer.*epochs=0"):
        quantization_aware(student, images, epochs=0)
    with pytest.raises(ValueError, match="learning_rate=nan"):
        quantization_aware(student, images, learning_rate=float("nan"))
    with pytest.raises(ValueError, match=r"two or more.*shape=\(1, 32, 32, 1\)"):
        quantization_aware(student, images[:1])
    with pytest.raises(TypeError, match="uint8.*float64"):
        quantization_aware(student, images / 1.0)
    with pytest.raises(ValueError, match=r"mode='int8-qat'.*calibration=None"):
        tflite.convert(student, "int8-qat")
    bare = keras.Model(student.inputs, student.get_layer("projection").output)
    with pytest.raises(ValueError, match="must end with L2.*Received: Dense"):
        quantization_aware(bare, images)


def test_branches_gates_and_networks_inside_are_rounded_too():
    inputs = keras.Input((32, 32, 1))
    x = layers.Conv2D(4, 3, 2, padding="same")(layers.Rescaling(1 / 255)(inputs))
    wide = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x)
    wide = layers.ReLU(6.0)(layers.BatchNormalization()(wide))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(wide)
    gate = layers.Conv2D(8, 1, activation="sigmoid")(gate)
    x = layers.Add()([layers.Multiply()([wide, gate]), wide])
    inner = keras.Sequential([keras.Input((14, 14, 8)), layers.Conv2D(6, 3)])
    x = layers.Dense(4)(layers.Flatten()(layers.MaxPooling2D(3)(inner(x))))
    student = keras.Model(inputs, L2Normalization()(x))
    images = tiny_embedder.calibration()
    before, trunk, after = trunk_of(student)
    rounded = RoundedTrunk(trunk)
    pixels = before(images.astype("float32"))
    exact = rounded._run(pixels, lambda name, value: value)[rounded._end]
    np.testing.assert_allclose(exact, trunk(pixels), atol=2e-5)
    rounded.measure(pixels)
    # A kernel and what shifts it of each of five layers.
    assert len(rounded.variables) == 2 * 5
    found, expected = np.asarray(after(rounded(pixels))), by_keras(student, images)
    assert 0.99 < np.sum(found * expected, axis=1).min() < 1 - 1e-7
