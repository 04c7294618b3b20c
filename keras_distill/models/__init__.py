"""Embedders and classifiers: small ones, or any `keras.applications` backbone."""

from keras_distill.models.classifier import classifier
from keras_distill.models.embedder import embedder
from keras_distill.models.tap import tap

__all__ = ["classifier", "embedder", "tap"]
