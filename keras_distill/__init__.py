"""Distil image embedders in Keras and put them, with their search, on phones.

Names are loaded when they are first used: `import keras_distill` imports neither
Keras nor TensorFlow, so that `keras_distill.device` starts quickly where neither
is installed.
"""

import importlib

from keras_distill.version import __version__

_SUBPACKAGES = (
    "callbacks",
    "data",
    "detection",
    "device",
    "layers",
    "losses",
    "methods",
    "metrics",
    "models",
    "retrieval",
    "similarity",
    "tflite",
)
_CLASSES = {
    "DDL": "keras_distill.ddl",
    "Distiller": "keras_distill.distiller",
    "GlobalKnowledge": "keras_distill.methods",
    "OBDSD": "keras_distill.methods",
    "PAD": "keras_distill.methods",
    "S2SD": "keras_distill.methods",
}

__all__ = ["__version__", *_SUBPACKAGES, *_CLASSES]


def __getattr__(name):
    if name in _SUBPACKAGES:
        return importlib.import_module(f"keras_distill.{name}")
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'keras_distill' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
