import keras
import numpy as np
import pytest
from keras import layers

from keras_distill import models
from keras_distill.layers import L2Normalization
from keras_distill.tflite.tf_keras_twin import tf_keras_twin
from keras_distill.tflite.trunk_of import graph_of, trunk_of
from tests import tiny_embedder


def shaken(student):
    """The student with statistics and factors of normalisation other than 0 and 1."""
    rng = np.random.default_rng(0)
    student.set_weights(
        [
            w * rng.uniform(0.5, 1.5, w.shape) + 0.02 * (len(w.shape) == 1)
            for w in student.get_weights()
        ]
    )
    return student


@pytest.mark.parametrize(
    "backbone", ["conv4", "conv4_6", "separable", "MobileNet", "MobileNetV2"]
)
def test_every_backbone_has_a_twin_that_gives_the_same(backbone):
    student = shaken(models.embedder(backbone, (32, 32, 3), 8))
    images = np.random.default_rng(1).uniform(0, 255, (6, 32, 32, 3)).astype("float32")
    before, trunk, after = trunk_of(student)
    expected = np.asarray(trunk(before(images), training=False))
    twin = tf_keras_twin(trunk)
    found = twin(np.asarray(before(images)), training=False).numpy()
    assert np.abs(expected).max() > 0.01
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-5)
    # And the three parts are the student.
    whole = np.asarray(student(images, training=False))
    np.testing.assert_allclose(np.asarray(after(expected)), whole, atol=1e-6)


def test_frozen_statistics_are_statistics_to_the_twin():
    student = models.frozen_statistics(
        shaken(models.embedder("conv4_6", (32, 32, 3), 8))
    )
    before, trunk, _ = trunk_of(student)
    images = np.random.default_rng(1).uniform(0, 255, (6, 32, 32, 3)).astype("float32")
    found = tf_keras_twin(trunk)(np.asarray(before(images)), training=False).numpy()
    expected = np.asarray(trunk(before(images), training=False))
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_parts_are_the_pixels_the_trunk_and_the_length():
    before, trunk, after = trunk_of(tiny_embedder.student())
    names = [[layer.name for layer in part.layers] for part in (before, trunk, after)]
    assert names[0][-1] == "rescale" and names[2][-1] == "embedding"
    assert names[1][1] == "stem" and names[1][-1] == "projection"


def test_a_student_without_scaling_has_a_trunk_from_its_pixels():
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(4, 3)(inputs))
    student = keras.Model(inputs, layers.UnitNormalization()(layers.Dense(3)(x)))
    before, trunk, _ = trunk_of(student)
    images = np.random.default_rng(0).uniform(0, 1, (2, 8, 8, 1)).astype("float32")
    np.testing.assert_array_equal(np.asarray(before(images)), images)
    expected = np.asarray(trunk(images))
    np.testing.assert_allclose(tf_keras_twin(trunk)(images), expected, atol=1e-5)


def test_what_has_branches_runs_in_their_order():
    inputs = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 3, padding="same", activation="relu", name="shared")
    x = layers.ZeroPadding2D(1)(shared(inputs))
    x = layers.Activation("relu6")(layers.Conv2D(4, 3)(x))
    x = layers.Concatenate()([x, layers.Add()([shared(x), inputs])])
    x = layers.Dropout(0.5)(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    trunk = keras.Model(inputs, layers.Dense(3)(layers.Reshape((-1,))(x)))
    images = np.random.default_rng(0).uniform(-9, 9, (5, 8, 8, 4)).astype("float32")
    expected = np.asarray(trunk(images, training=False))
    names = [step.layer.name for step in graph_of(trunk)[1:]]
    assert names.count("shared") == 2
    np.testing.assert_allclose(
        tf_keras_twin(trunk)(images, training=False), expected, atol=2e-5
    )


def test_networks_inside_are_unfolded():
    inner = keras.Sequential([layers.Conv2D(3, 3, name="a"), layers.ReLU(name="b")])
    inputs = keras.Input((8, 8, 2))
    middle = keras.Model(inputs, inner(layers.Conv2D(4, 1, name="c")(inputs)))
    outer = keras.Input((8, 8, 2))
    trunk = keras.Model(outer, layers.Flatten(name="d")(middle(outer)))
    assert [step.layer.name for step in graph_of(trunk)[1:]] == ["c", "a", "b", "d"]
    images = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 2)).astype("float32")
    expected = np.asarray(trunk(images))
    np.testing.assert_allclose(tf_keras_twin(trunk)(images), expected, atol=1e-5)
    twice = keras.Model(outer, layers.Add()([middle(outer), middle(outer * 2)]))
    with pytest.raises(ValueError, match="may be called once.*with 2 calls"):
        graph_of(twice)


def test_refuses_what_has_no_twin_and_what_is_no_embedder():
    inputs = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.GaussianNoise(0.1, name="odd")(inputs))
    with pytest.raises(ValueError, match="Conv2D.*Received: GaussianNoise 'odd'"):
        tf_keras_twin(keras.Model(inputs, x))
    with pytest.raises(ValueError, match="must end with L2.*Received: Flatten"):
        trunk_of(keras.Model(inputs, layers.Flatten()(inputs)))

    class Subclass(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="functional keras.Model.*Received: <Subclass"):
        trunk_of(Subclass())
    two = keras.Model(inputs, [x, L2Normalization()(x)])
    with pytest.raises(ValueError, match="one input and one output"):
        graph_of(two)
