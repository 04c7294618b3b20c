"""Layers for embedders and their input pipelines."""

from keras_distill.layers.l2_normalization import L2Normalization

__all__ = ["L2Normalization"]
