"""Layers for embedders and their input pipelines."""

from keras_distill.layers.frozen_batch_normalization import FrozenBatchNormalization
from keras_distill.layers.group_pooling import GroupPooling
from keras_distill.layers.l2_normalization import L2Normalization
from keras_distill.layers.random_affine import RandomAffine
from keras_distill.layers.random_box_affine import RandomBoxAffine
from keras_distill.layers.random_degradation import RandomDegradation
from keras_distill.layers.random_elastic import RandomElastic
from keras_distill.layers.random_stroke_width import RandomStrokeWidth

__all__ = [
    "FrozenBatchNormalization",
    "GroupPooling",
    "L2Normalization",
    "RandomAffine",
    "RandomBoxAffine",
    "RandomDegradation",
    "RandomElastic",
    "RandomStrokeWidth",
]
