import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from train.grouping.members import look

SHAPE = (8, 8, 1)
PIXELS = np.random.default_rng(0).integers(0, 256, (300, *SHAPE), dtype=np.uint8)
IMAGES = kd.data.ImageSet(PIXELS, np.arange(300) % 3)
PLAIN = kd.data.FixedViews(None, count=1)
MOVED = kd.data.FixedViews(kd.layers.RandomAffine(shift=0.4), count=3)


def direct(model, views, rows, which):
    pixels = views.of(IMAGES)(rows.reshape(-1), which.reshape(-1))
    return model.predict(np.asarray(pixels), verbose=0)


@pytest.fixture(scope="module")
def embedder():
    images = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    start = keras.initializers.RandomNormal(seed=0)
    x = layers.Dense(5, kernel_initializer=start, name="projection")(
        layers.Flatten()(x)
    )
    return keras.Model(images, kd.layers.L2Normalization(name="embedding")(x))


def test_outputs_come_in_the_order_and_shape_of_the_rows(embedder):
    rows = np.random.default_rng(1).permutation(280).reshape(2, 70, 2)
    which = np.arange(2)[:, None, None]
    seen, scores = look(embedder, IMAGES, MOVED, rows, which)
    found = seen.features
    assert scores is None
    assert found.shape == (2, 70, 2, 5)
    expected = direct(embedder, MOVED, rows, np.broadcast_to(which, rows.shape))
    np.testing.assert_allclose(found.reshape(-1, 5), expected, atol=1e-5)
    # Neither another image nor another view of it gives nearly the same.
    other = direct(embedder, MOVED, rows, 1 + np.broadcast_to(which, rows.shape))
    assert np.abs(expected - other).max(axis=1).min() > 1e-2
    assert np.abs(expected - np.roll(expected, 1, axis=0)).max(axis=1).min() > 1e-2


def test_a_scorer_sees_the_same_images(embedder):
    images = keras.Input(SHAPE)
    dark = keras.ops.mean(images, axis=(1, 2)) / 255
    scorer = keras.Model(images, dark)
    rows = np.arange(12).reshape(3, 4)
    seen, scores = look(embedder, IMAGES, MOVED, rows, 1, scorer)
    assert seen.features.shape == (3, 4, 5) and scores.shape == (3, 4)
    expected = direct(scorer, MOVED, rows, np.ones_like(rows))
    np.testing.assert_allclose(scores.reshape(-1, 1), expected, atol=1e-5)


def test_norms_are_those_of_the_layer_before_unit_length(embedder):
    rows = np.arange(20)
    seen, _ = look(embedder, IMAGES, PLAIN, rows, 0)
    np.testing.assert_allclose(np.linalg.norm(seen.features, axis=1), 1, rtol=1e-5)
    raw = keras.Model(embedder.input, embedder.get_layer("projection").output)
    expected = np.linalg.norm(direct(raw, PLAIN, rows, 0 * rows), axis=1)
    np.testing.assert_allclose(seen.norms, expected, rtol=1e-4)
    np.testing.assert_allclose(seen.units, seen.features, atol=1e-6)


def test_an_embedder_of_no_unit_vectors_shows_its_lengths_itself(embedder):
    raw = keras.Model(embedder.input, embedder.get_layer("projection").output)
    seen, _ = look(raw, IMAGES, PLAIN, np.arange(9), 0)
    np.testing.assert_allclose(seen.norms, np.linalg.norm(seen.features, axis=1))
    np.testing.assert_allclose(np.linalg.norm(seen.units, axis=1), 1, rtol=1e-5)


def test_lengths_that_cannot_be_had_are_none(embedder):
    images = keras.Input(SHAPE)
    nested = keras.Model(images, embedder(images))
    assert look(nested, IMAGES, PLAIN, np.arange(9), 0)[0].norms is None
    # A layer of that name which is something else.
    x = layers.Dense(4, name="projection")(layers.Flatten()(images))
    x = kd.layers.L2Normalization()(layers.Dense(4)(x))
    seen, _ = look(keras.Model(images, x), IMAGES, PLAIN, np.arange(9), 0)
    assert seen.norms is None


class Foreign(keras.Model):
    def call(self, images, training=None):
        return kd.layers.L2Normalization()(keras.ops.mean(images, axis=(2, 3)))


def test_a_subclassed_embedder_is_looked_at_as_well():
    seen, _ = look(Foreign(), IMAGES, PLAIN, np.arange(9), 0)
    assert seen.features.shape == (9, 8) and seen.norms is None
