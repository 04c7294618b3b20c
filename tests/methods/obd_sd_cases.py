"""What the tests of OBD-SD share: a small student, data, and a loss without jumps."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_distill as kd

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 6, 6, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 3).astype("i4")
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat(2)


def student(extra=None, outputs=1, **dense):
    """A net small enough that tracing is all it costs."""
    images = keras.Input((6, 6, 1), name="image")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(8, name="hidden", **dense)(x)
    x = layers.BatchNormalization(name="bn", momentum=0.5)(x)
    if extra is not None:
        x = extra(x)
    x = features = layers.ReLU(name="features")(x)
    x = layers.Dense(3, name="projection")(x)
    x = kd.layers.L2Normalization(name="embedding")(x)
    logits = layers.Dense(4, name="logits")(features)
    return keras.Model(images, [logits, x] if outputs > 1 else x)


def compiled(net, with_methods, optimizer=None, **kwargs):
    distiller = kd.Distiller(net, with_methods)
    # Without mining: the loss has no jumps that rounding could reach.
    loss = kd.losses.MultiSimilarity(epsilon=None)
    distiller.compile(optimizer or keras.optimizers.Adam(1e-2), loss, **kwargs)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]


def identical(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
