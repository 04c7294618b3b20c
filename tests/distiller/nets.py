"""Nets small enough that tracing is all they cost, and one batch for them."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_distill as kd

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 6, 6, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 3).astype("i4")
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS))


def student(dim=3, regularizer=None, extra=None, name=None):
    """A net small enough that tracing is all it costs."""
    images = keras.Input((6, 6, 1), name="image")
    x = layers.Flatten()(images)
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Dense(8, kernel_regularizer=regularizer, name="hidden")(x)
    x = layers.BatchNormalization(name="bn")(x)
    if extra is not None:
        x = extra(x)
    x = layers.ReLU(name="features")(x)
    x = layers.Dense(dim, name="projection")(x)
    x = kd.layers.L2Normalization(name="embedding")(x)
    return keras.Model(images, x, name=name)


def teacher(dim=16, size=6, dtype="float32", channels=1):
    images = keras.Input((size, size, channels), dtype=dtype)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(8, name="inner")(x)
    return keras.Model(images, layers.Dense(dim)(x), name="teacher")


def compiled(net=None, with_methods=(), loss="default", optimizer=None, **kwargs):
    options = {k: kwargs.pop(k) for k in ("teacher", "feature_layer") if k in kwargs}
    distiller = kd.Distiller(net or student(), with_methods, **options)
    loss = kd.losses.MultiSimilarity(epsilon=None) if loss == "default" else loss
    distiller.compile(optimizer or keras.optimizers.SGD(0.1), loss, **kwargs)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]


def same(ours, theirs, rtol=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5 if rtol else 0)
