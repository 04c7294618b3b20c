"""Search over embeddings."""

from keras_distill.retrieval.exact_search import exact_search

__all__ = ["exact_search"]
