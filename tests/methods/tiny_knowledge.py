"""Global knowledge small enough for tiny detectors."""

import keras
import numpy as np

import keras_distill as kd
from tests.tiny_detector import STRIDES, TinyDetector

PYRAMIDS = {"student_layer": "fpn", "teacher_layer": "fpn", "strides": STRIDES}
SMALL = {
    "instances": "boxes",
    "prototypes": 3,
    "level_base": 14.0,
    "min_side": 1.0,
    **PYRAMIDS,
}


def knowledge(**kwargs):
    return kd.GlobalKnowledge(2, **{**SMALL, **kwargs})


def compiled(with_methods, student=None, teacher=None, **kwargs):
    distiller = kd.Distiller(
        student or TinyDetector(4),
        with_methods,
        teacher=teacher or TinyDetector(6, name="teacher"),
    )
    distiller.compile(kwargs.pop("optimizer", keras.optimizers.SGD(0.05)), **kwargs)
    return distiller


def cosine(rows, others):
    rows, others = np.asarray(rows, "f8"), np.asarray(others, "f8")
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (rows, others)]
    rows, others = (
        x / np.maximum(n, 1e-12) for x, n in zip((rows, others), lengths, strict=True)
    )
    return (rows @ others.T).astype("f4")
