"""A teacher that counts the images it is asked about, and images to ask it about."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from keras_distill import layers as our_layers
from keras_distill.data import FixedViews, ImageSet

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 12, 12, 1), np.uint8)
IMAGES = ImageSet(PIXELS, np.arange(30) // 5)
AFFINE = our_layers.RandomAffine(shift=0.2, rotation=30)
VIEWS = FixedViews(AFFINE, count=2, seed=3)
OTHER_PIXELS = PIXELS.copy()
OTHER_PIXELS[[4, 9], 3, 3] ^= 1


class Counter(keras.layers.Layer):
    """Passes images on and notes how many went by, in inference."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def call(self, images):
        def note(count):
            self.seen.append(int(count))
            return count

        noted = tf.numpy_function(note, [tf.shape(images)[0]], tf.int32)
        with tf.control_dependencies([noted]):
            return tf.identity(images)


def make_teacher(seed=0, size=9, dim=4, activation="relu", **kwargs):
    """A teacher of another resolution, whose layer `counter` counts its images."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 1), **kwargs)
    x = layers.Rescaling(1 / 255)(Counter(name="counter")(image))
    x = layers.Conv2D(5, 3, activation=activation)(x)
    x = layers.BatchNormalization()(layers.Dropout(0.5)(x))
    return keras.Model(image, layers.Dense(dim)(layers.Flatten()(x)), name="owl")


def seen(teacher):
    return sum(teacher.get_layer("counter").seen)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
