"""Search over embeddings, and the bundle that carries it to a device."""

from keras_distill.retrieval.bundle import write_bundle
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.neighbour_grid import neighbour_grid
from keras_distill.retrieval.retrieval_budget import RetrievalBudget
from keras_distill.retrieval.scann_index import build_index
from keras_distill.retrieval.search_model import SearchModel, build_search_model
from keras_distill.retrieval.thresholds import Threshold, Thresholds, calibrate

__all__ = [
    "RetrievalBudget",
    "SearchModel",
    "Threshold",
    "Thresholds",
    "build_index",
    "build_search_model",
    "calibrate",
    "exact_search",
    "neighbour_grid",
    "write_bundle",
]
