"""Networks for images, groups of them and what is in them."""

from keras_distill.models.classifier import classifier
from keras_distill.models.detector import Detector
from keras_distill.models.embedder import embedder
from keras_distill.models.faster_rcnn import FasterRCNN
from keras_distill.models.frozen_statistics import frozen_statistics
from keras_distill.models.group_embedder import group_embedder
from keras_distill.models.pyramid import pyramid
from keras_distill.models.retinanet import RetinaNet
from keras_distill.models.scorer import scorer
from keras_distill.models.tap import tap

__all__ = [
    "Detector",
    "FasterRCNN",
    "RetinaNet",
    "classifier",
    "embedder",
    "frozen_statistics",
    "group_embedder",
    "pyramid",
    "scorer",
    "tap",
]
