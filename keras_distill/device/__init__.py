"""What runs on a device: numpy and one TFLite interpreter, no TensorFlow, no Keras.

Pillow is needed to read image files, ScaNN can be used if it is installed.
"""

from keras_distill.device.anchors import anchors
from keras_distill.device.bundle import Bundle
from keras_distill.device.bundle_error import BundleError
from keras_distill.device.bundle_searches import SEARCHERS
from keras_distill.device.detections import detections
from keras_distill.device.detector import Detector
from keras_distill.device.detector_bundle import DetectorBundle, Found, open_detector
from keras_distill.device.embedder import Embedder
from keras_distill.device.fit_ink import fit_ink
from keras_distill.device.group import Group, GroupNeighbours
from keras_distill.device.group_weights import group_weights
from keras_distill.device.open_bundle import open_bundle
from keras_distill.device.read_crops import read_crops
from keras_distill.device.read_image import read_image, read_letterboxed
from keras_distill.device.runtime import RUNTIMES
from keras_distill.device.scorer import Scorer
from keras_distill.device.searcher import Searcher

__all__ = [
    "RUNTIMES",
    "SEARCHERS",
    "Bundle",
    "BundleError",
    "Detector",
    "DetectorBundle",
    "Embedder",
    "Found",
    "Group",
    "GroupNeighbours",
    "Scorer",
    "Searcher",
    "anchors",
    "detections",
    "fit_ink",
    "group_weights",
    "open_bundle",
    "open_detector",
    "read_crops",
    "read_image",
    "read_letterboxed",
]
