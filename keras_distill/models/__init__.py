"""Networks for images and groups of them: small ones, or any `keras.applications`."""

from keras_distill.models.classifier import classifier
from keras_distill.models.embedder import embedder
from keras_distill.models.group_embedder import group_embedder
from keras_distill.models.scorer import scorer
from keras_distill.models.tap import tap

__all__ = ["classifier", "embedder", "group_embedder", "scorer", "tap"]
