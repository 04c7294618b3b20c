"""Retrieval and verification, measured on numpy arrays."""

from keras_distill.metrics.detect import detect, detector_report
from keras_distill.metrics.detection_report import detection_report
from keras_distill.metrics.embed import Embedder, embed
from keras_distill.metrics.identification import identification
from keras_distill.metrics.k_means import k_means
from keras_distill.metrics.map_at_r import map_at_r, r_precision
from keras_distill.metrics.nmi import nmi
from keras_distill.metrics.recall_at_k import recall_at_k
from keras_distill.metrics.retrieval_report import retrieval_report
from keras_distill.metrics.tar_at_far import tar_at_far, threshold_at_far
from keras_distill.metrics.verification import verification

__all__ = [
    "Embedder",
    "detect",
    "detection_report",
    "detector_report",
    "embed",
    "identification",
    "k_means",
    "map_at_r",
    "nmi",
    "r_precision",
    "recall_at_k",
    "retrieval_report",
    "tar_at_far",
    "threshold_at_far",
    "verification",
]
