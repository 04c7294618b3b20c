"""One small untrained embedder and its images, made once for all tests that export.

The images are soft patterns, one a class, under noise: near enough to each other
within a class that an untrained network retrieves them, spread enough to calibrate.
"""

import atexit
import functools
import pathlib
import shutil
import tempfile
import warnings

import keras
import numpy as np
from PIL import Image

from keras_distill import models, tflite
from keras_distill.data.image_set import ImageSet
from keras_distill.retrieval import write_bundle

IMAGE_SHAPE, DIM = (32, 32, 1), 16


@functools.cache
def images(classes=24, per_class=5, seed=0):
    """`(images uint8 (N, 32, 32, 1), labels int32 (N,))`, sorted by class."""
    rng = np.random.default_rng(seed)
    pixels = []
    for _ in range(classes):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8))
        pattern = np.asarray(coarse.resize(IMAGE_SHAPE[:2], Image.Resampling.BICUBIC))
        noise = rng.normal(0, 4, (per_class, *IMAGE_SHAPE[:2]))
        pixels.append(np.clip(pattern + noise, 0, 255).astype(np.uint8))
    labels = np.repeat(np.arange(classes, dtype=np.int32), per_class)
    return np.concatenate(pixels)[..., None], labels


def calibration():
    """Images of other classes than `images()`."""
    return images(seed=1)[0]


@functools.cache
def student(backbone="separable"):
    """An untrained embedder whose batch statistics fit the images."""
    keras.utils.set_random_seed(0)
    model = models.embedder(backbone, IMAGE_SHAPE, DIM)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.5
    for _ in range(8):
        model(calibration().astype("float32"), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model


@functools.cache
def converted(mode="float32", backbone="separable"):
    """Bytes of the student's .tflite."""
    with warnings.catch_warnings():
        # That training for int8 does not help, as of an untrained conv4.
        warnings.filterwarnings("ignore", "Training with rounding", UserWarning)
        return tflite.convert(student(backbone), mode, calibration())


def catalogue():
    """The images as a data set of named classes."""
    pixels, labels = images()
    names = [f"pattern{label:02d}" for label in range(labels.max() + 1)]
    ids = [f"{names[label]}/{row}.png" for row, label in enumerate(labels)]
    return ImageSet(pixels, labels, names, ids, "patterns")


@functools.cache
def bundle():
    """A bundle of the student with all its parts but a scorer's, as a temporary folder.

    Copy it to change it.
    """
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keras_distill_test_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_bundle(
        folder / "bundle", student(), calibration(), catalogue(), task_library=True
    )
    return folder / "bundle"
