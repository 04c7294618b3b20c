"""A fitted scorer knows bad images, of classes never seen, and pools groups by it."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from tests.ddl.proxy import SHAPE, dataset, patterns

# Of each class half the images are clean and half are noise, nearly.
PER_CLASS = 8
DEGRADED = np.arange(PER_CLASS) >= PER_CLASS // 2


def half_noise(classes, seed):
    clean, labels = patterns(classes, PER_CLASS, seed, strength=(0.0, 0.2))
    noise, _ = patterns(classes, PER_CLASS, seed, strength=(0.8, 1.0))
    images = np.where(np.tile(DEGRADED, classes)[:, None, None, None], noise, clean)
    return images, labels


def trained_embedder(images, labels):
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.AveragePooling2D(3)(x)
    x = layers.Dense(16, name="projection")(layers.Flatten()(x))
    net = keras.Model(inputs, kd.layers.L2Normalization(name="embedding")(x))
    net.compile(keras.optimizers.Adam(1e-2), kd.losses.MultiSimilarity())
    net.fit(images, labels, batch_size=len(images), epochs=20, verbose=0)
    return net


def small_scorer():
    inputs = keras.Input(SHAPE, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="score")(x))


@pytest.fixture(scope="module")
def ddl():
    keras.utils.set_random_seed(0)
    images, labels = half_noise(16, seed=0)
    clean = np.tile(~DEGRADED, 16)
    net = trained_embedder(images[clean], labels[clean])
    model = kd.DDL(net, small_scorer())
    model.compile(keras.optimizers.Adam(2e-2))
    model.fit(dataset(images, labels, 32), epochs=20, verbose=0)
    return model


@pytest.mark.parametrize("seed", [0, 1], ids=["classes of the proxy set", "unseen"])
def test_scores_rank_as_the_true_indicators_do(ddl, seed):
    images, labels = half_noise(16, seed)
    logs = ddl.evaluate(
        dataset(images, labels, len(images)), verbose=0, return_dict=True
    )
    assert logs["rank_correlation"] > 0.5
    scores = np.reshape(ddl.predict(images, verbose=0), (16, PER_CLASS))
    clean, degraded = scores[:, ~DEGRADED], scores[:, DEGRADED]
    assert np.mean(clean[:, :, None] > degraded[:, None]) > 0.9


@pytest.mark.parametrize("keep", [None, 4])
def test_pooled_by_their_scores_unseen_groups_are_nearer_to_what_they_show(ddl, keep):
    images, _ = half_noise(16, seed=1)
    groups = images.reshape(16, PER_CLASS, *SHAPE)
    features = np.array(ddl.embedder(images)).reshape(16, PER_CLASS, -1)
    centroids = unit(features[:, ~DEGRADED].mean(axis=1))
    everything = {"image": groups, "mask": np.ones((16, PER_CLASS), bool)}
    pooled = np.array(ddl.group_embedder(keep=keep)(everything))
    ours = np.sum(pooled * centroids, axis=1)
    mean = np.sum(unit(features.mean(axis=1)) * centroids, axis=1)
    assert ours.mean() > mean.mean() and np.mean(ours > mean) > 0.8


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
