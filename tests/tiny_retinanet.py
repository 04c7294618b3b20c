"""One small RetinaNet that has learnt squares and bars, and its bundle, made once."""

import atexit
import functools
import pathlib
import shutil
import tempfile

import keras

from keras_distill import data
from keras_distill.retrieval import write_detector_bundle
from tests.models.tiny_detectors import pictures, retinanet

CLASSES = ("square", "bar")


@functools.cache
def train():
    return pictures(48, seed=2)


@functools.cache
def evaluation():
    return pictures(24, seed=3)


@functools.cache
def detector():
    """Finds most of what there is."""
    keras.utils.set_random_seed(0)
    made = retinanet()
    made.compile(keras.optimizers.Adam(6e-3))
    made.fit(data.box_batches(train(), 8, seed=0), epochs=16, verbose=0, shuffle=False)
    return made


@functools.cache
def bundle():
    """Its bundle, as a temporary folder. Copy it to change it."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keras_distill_test_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    # A box more or less is points of AP where there are this few.
    write_detector_bundle(
        folder / "bundle",
        detector(),
        train(),
        evaluation(),
        max_drop=5.0,
    )
    return folder / "bundle"
