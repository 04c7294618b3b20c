"""A proxy set of patterns, some drowned in noise, and nets small enough for it."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import keras_distill as kd

SHAPE = (12, 12, 1)


def patterns(classes=5, per_class=6, seed=0, strength=(0.0, 1.0)):
    """`(images float32 (N, 12, 12, 1), labels (N,))`, sorted by class.

    A class is a coarse pattern. Its images lose it, evenly from the first number of
    `strength` to the last: 1 leaves nothing of the pattern but noise.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (classes, 4, 4))
    clean = np.kron(coarse, np.ones((3, 3))).repeat(per_class, axis=0)
    lost = np.tile(np.linspace(*strength, per_class), classes)[:, None, None]
    noise = rng.uniform(0, 255, clean.shape)
    images = (1 - lost) * clean + lost * noise
    labels = np.repeat(np.arange(classes, dtype="int32"), per_class)
    return images[..., None].astype("f4"), labels


def dataset(images, labels, batch_size=8, rows=None, weights=None, shuffle=True):
    """Batches as `data.proxy_views` makes them, in another order each pass."""
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    parts = ({"image": images, "row": rows}, labels)
    parts = parts if weights is None else (*parts, weights)
    data = tf.data.Dataset.from_tensor_slices(parts)
    return (data.shuffle(len(images), seed=3) if shuffle else data).batch(batch_size)


def embedder(dim=4, shape=SHAPE, extra=None):
    """With batch normalisation, whose statistics a training step would move."""
    images = keras.Input(shape, name="image")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.BatchNormalization(name="norm")(x)
    x = extra(x) if extra is not None else x
    x = layers.Dense(dim, name="projection")(x)
    return keras.Model(images, kd.layers.L2Normalization(name="embedding")(x))


def scorer(shape=SHAPE, ending=None, regularizer=None):
    """A sixteenth of a net. `ending` replaces the last layer."""
    images = keras.Input(shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    x = layers.Conv2D(4, 3, 2, use_bias=False, kernel_regularizer=regularizer)(x)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    ending = ending or layers.Dense(1, activation="sigmoid", name="score")
    return keras.Model(images, ending(x), name="scorer")


def compiled(optimizer=None, loss="mse", embed=None, score=None, **options):
    """A `DDL` of these nets; options of `compile` besides."""
    ours = {
        name: options.pop(name)
        for name in ("floor", "leave_one_out", "centroids")
        if name in options
    }
    ddl = kd.DDL(embed or embedder(), score or scorer(), **ours)
    ddl.compile(optimizer or keras.optimizers.Adam(1e-2), loss, **options)
    return ddl


def values(model):
    return [np.array(v) for v in model.variables]
