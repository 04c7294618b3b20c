"""Layers for embedders and their input pipelines."""

from keras_distill.layers.l2_normalization import L2Normalization
from keras_distill.layers.random_affine import RandomAffine

__all__ = ["L2Normalization", "RandomAffine"]
