"""Keras callbacks for training embeddings."""

from keras_distill.callbacks.retrieval_evaluation import RetrievalEvaluation

__all__ = ["RetrievalEvaluation"]
