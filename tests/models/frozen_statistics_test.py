"""A trained model goes on without moving what it normalises by."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from tests.models import tiny_detectors

rng = np.random.default_rng(0)
PIXELS = rng.integers(0, 256, (8, 16, 16, 3)).astype("float32")


def functional():
    return kd.models.embedder("conv4_4", (16, 16, 3), dim=4)


def nested():
    """A network of `keras.applications` lies within the embedder as one layer."""
    return kd.models.embedder("MobileNetV2", (32, 32, 3), dim=4)


def sequential():
    parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
    return keras.Sequential([keras.Input((16, 16, 3)), *parts])


def moved(model, images):
    """The model after a few steps at a momentum that moves averages far."""
    for _ in range(3):
        model(images, training=True)
    return model


@pytest.mark.parametrize("make", [functional, nested, sequential])
def test_training_mode_gives_what_inference_gives(make):
    model = make()
    side = model.input_shape[1]
    images = np.resize(PIXELS, (8, side, side, 3))
    moved(model, images)
    before = model.get_weights()
    frozen = kd.models.frozen_statistics(model)
    expected = model(images, training=False)
    assert np.abs(expected - model(images, training=True)).max() > 1e-3
    for training in (True, False):
        np.testing.assert_allclose(
            frozen(images, training=training), expected, rtol=1e-5, atol=1e-6
        )
    frozen.compile(keras.optimizers.SGD(0.1), "mse")
    frozen.fit(images, np.ones((8, frozen.output_shape[-1])), verbose=0)
    for variable, old in zip(frozen.weights, before, strict=True):
        if "moving" in variable.path:
            np.testing.assert_array_equal(variable, old)
    trained = {v.path.split("/")[-1] for v in frozen.trainable_variables}
    assert {"gamma", "beta"} <= trained and not trained & {"moving_mean"}


def test_the_model_that_is_given_is_not_touched():
    model = moved(functional(), PIXELS)
    before = [np.array(w) for w in model.get_weights()]
    frozen = kd.models.frozen_statistics(model)
    frozen.set_weights([0 * w for w in before])
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert type(model.get_layer("bn1")) is layers.BatchNormalization


def test_it_is_saved_and_loaded(tmp_path):
    frozen = kd.models.frozen_statistics(moved(functional(), PIXELS))
    frozen.save(tmp_path / "student.keras")
    again = keras.saving.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(
        again(PIXELS, training=True), frozen(PIXELS, training=True)
    )


@pytest.mark.parametrize("kind", ["retinanet", "faster_rcnn"])
def test_a_detector_stays_one_of_its_class(kind):
    detector = getattr(tiny_detectors, kind)()
    images = rng.integers(0, 256, (4, *detector.image_shape)).astype("float32")
    moved(detector, images)
    frozen = kd.models.frozen_statistics(detector)
    assert type(frozen) is type(detector) and frozen.name == detector.name
    maps, kept = (kd.models.tap(net, ["pyramid"]) for net in (detector, frozen))
    expected = maps(images, training=False)["pyramid"]
    for level, found in kept(images, training=True)["pyramid"].items():
        np.testing.assert_allclose(found, expected[level], rtol=1e-5, atol=1e-5)
    for old, new in zip(
        detector.predict(images, verbose=0).values(),
        frozen.predict(images, verbose=0).values(),
        strict=True,
    ):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-3)


def test_the_distiller_of_a_frozen_student_leaves_its_averages():
    """With a copy of the student beside it, which is made of its configuration."""
    student = kd.models.frozen_statistics(moved(functional(), PIXELS))
    before = student.get_layer("bn2").moving_mean.numpy()
    distiller = kd.Distiller(student, [kd.OBDSD(weight=1.0)])
    distiller.compile("sgd", loss=kd.losses.MultiSimilarity())
    distiller.fit(PIXELS, np.arange(8) // 2, epochs=2, batch_size=8, verbose=0)
    np.testing.assert_array_equal(student.get_layer("bn2").moving_mean, before)


def test_a_frozen_model_may_be_frozen_again():
    once = kd.models.frozen_statistics(moved(functional(), PIXELS))
    twice = kd.models.frozen_statistics(once)
    np.testing.assert_array_equal(twice(PIXELS), once(PIXELS))


class Opaque(layers.Layer):
    """Has batch normalisation that no graph shows."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.inner(inputs, training=training)


class Subclassed(keras.Model):
    """Is no graph."""


def test_what_cannot_be_frozen_is_refused():
    images = keras.Input((4,))
    with pytest.raises(ValueError, match="not within another layer.*'outer' with "):
        kd.models.frozen_statistics(keras.Model(images, Opaque()(images), name="outer"))
    with pytest.raises(ValueError, match="averages can stay.*'dense', which has none"):
        kd.models.frozen_statistics(
            keras.Model(images, layers.Dense(2)(images), name="dense")
        )
    with pytest.raises(ValueError, match="not within subclassed.*of type Subclassed"):
        kd.models.frozen_statistics(Subclassed())
    with pytest.raises(ValueError, match="that are built.*of type Sequential"):
        kd.models.frozen_statistics(keras.Sequential([layers.BatchNormalization()]))


def test_a_phone_gets_the_same_file():
    model = moved(functional(), PIXELS)
    frozen = kd.models.frozen_statistics(model)
    assert kd.tflite.convert(frozen) == kd.tflite.convert(model)
