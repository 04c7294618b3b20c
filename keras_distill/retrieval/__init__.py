"""Search over embeddings, and the bundle that carries it to a device."""

from keras_distill.retrieval.bundle import write_bundle
from keras_distill.retrieval.detection_budget import DetectionBudget
from keras_distill.retrieval.detector_bundle import write_detector_bundle
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.neighbour_grid import neighbour_grid
from keras_distill.retrieval.partition import partition
from keras_distill.retrieval.retrieval_budget import RetrievalBudget
from keras_distill.retrieval.scann_catalogue import ScannCatalogue
from keras_distill.retrieval.scann_index import build_index
from keras_distill.retrieval.score_threshold import ScoreThreshold, score_threshold
from keras_distill.retrieval.search_model import SearchModel, build_search_model
from keras_distill.retrieval.task_index import (
    Partitions,
    TaskIndex,
    write_task_index,
)
from keras_distill.retrieval.task_searcher import TaskSearcher, task_searcher
from keras_distill.retrieval.thresholds import Threshold, Thresholds, calibrate
from keras_distill.retrieval.update_bundle import update_bundle

__all__ = [
    "DetectionBudget",
    "Partitions",
    "RetrievalBudget",
    "ScannCatalogue",
    "ScoreThreshold",
    "SearchModel",
    "Threshold",
    "Thresholds",
    "TaskIndex",
    "TaskSearcher",
    "build_index",
    "build_search_model",
    "calibrate",
    "exact_search",
    "neighbour_grid",
    "partition",
    "score_threshold",
    "task_searcher",
    "update_bundle",
    "write_bundle",
    "write_detector_bundle",
    "write_task_index",
]
