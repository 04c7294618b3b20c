"""The parts of detectors: anchors, matching, sampling, RoIAlign, suppression."""

from keras_distill.detection.boxes import clip, decode, encode, iou
from keras_distill.detection.losses import sigmoid_focal, smooth_l1
from keras_distill.detection.matching import IGNORED, NEGATIVE, POSITIVE, match
from keras_distill.detection.multilevel_roi_align import MultilevelRoIAlign
from keras_distill.detection.picture import picture
from keras_distill.detection.proposals import Proposals
from keras_distill.detection.roi_align import roi_align
from keras_distill.detection.sampling import sample
from keras_distill.detection.suppression import suppress
from keras_distill.device.anchors import anchors

__all__ = [
    "IGNORED",
    "NEGATIVE",
    "POSITIVE",
    "MultilevelRoIAlign",
    "Proposals",
    "anchors",
    "clip",
    "decode",
    "encode",
    "iou",
    "match",
    "picture",
    "roi_align",
    "sample",
    "sigmoid_focal",
    "smooth_l1",
    "suppress",
]
