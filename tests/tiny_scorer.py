"""One small network that scores images, made once for all tests that export.

Its convolutions are random and its last layer is fitted to what a score is for: an
image that is faint or full of noise is worth less than one that is neither.
"""

import atexit
import functools
import pathlib
import shutil
import tempfile

import keras
import numpy as np
from keras import layers

from keras_distill import tflite
from keras_distill.retrieval import write_bundle
from tests import tiny_embedder


@functools.cache
def images(seed=0):
    """`(images uint8 (N, 32, 32, 1), worth (N,))`: the worse, the less `worth`."""
    rng = np.random.default_rng(seed)
    clean, _ = tiny_embedder.images(seed=seed)
    worth = rng.uniform(0.05, 0.95, len(clean)).astype(np.float32)
    strength = worth[:, None, None, None]
    faint = 128 + (clean - 128.0) * strength
    noisy = faint + rng.normal(0, 60, clean.shape) * (1 - strength)
    return np.clip(noisy, 0, 255).astype(np.uint8), worth


@functools.cache
def scorer():
    """A `keras.Model` from images in [0, 255] to `(batch, 1)` in (0, 1)."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input(tiny_embedder.IMAGE_SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for width in (8, 16, 24):
        x = layers.SeparableConv2D(
            width, 3, strides=2, padding="same", activation="relu"
        )(x)
    features = layers.GlobalAveragePooling2D()(x)
    last = layers.Dense(1, name="logit")
    model = keras.Model(
        inputs, layers.Activation("sigmoid", name="score")(last(features)), name="tiny"
    )
    pixels, worth = images(seed=1)
    rows = np.asarray(keras.Model(inputs, features)(pixels.astype("float32")))
    wanted = np.log(worth / (1 - worth))
    # The ridge keeps the weights as small as training leaves them.
    centred = rows - rows.mean(axis=0)
    ridge = 3e-4 * np.eye(centred.shape[1])
    slopes = np.linalg.solve(centred.T @ centred + ridge, centred.T @ wanted)
    last.kernel.assign(slopes[:, None])
    last.bias.assign([wanted.mean() - rows.mean(axis=0) @ slopes])
    return model


@functools.cache
def converted(mode="float32"):
    """Bytes of the scorer's .tflite."""
    return tflite.convert_scorer(scorer(), mode, images(seed=1)[0])


@functools.cache
def bundle():
    """The bundle of the tiny embedder with this scorer, that keeps 3 of a group.

    A temporary folder; copy it to change it.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keras_distill_test_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_bundle(
        folder / "bundle",
        tiny_embedder.student(),
        tiny_embedder.calibration(),
        tiny_embedder.catalogue(),
        scorer=scorer(),
        keep=3,
    )
    return folder / "bundle"
