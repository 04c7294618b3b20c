"""Image embedders: small ones built here, or any `keras.applications` backbone."""

from keras_distill.models.embedder import embedder
from keras_distill.models.tap import tap

__all__ = ["embedder", "tap"]
