"""Metric-learning losses for `compile(loss=...)`, one class a file."""

from keras_distill.losses.margin import Margin, margin_loss
from keras_distill.losses.mining import (
    distance_weighted_probabilities,
    distance_weighted_triplets,
    semi_hard_candidates,
)
from keras_distill.losses.multi_similarity import (
    MultiSimilarity,
    multi_similarity_loss,
)
from keras_distill.losses.trainable_loss import TrainableLoss

__all__ = [
    "Margin",
    "MultiSimilarity",
    "TrainableLoss",
    "distance_weighted_probabilities",
    "distance_weighted_triplets",
    "margin_loss",
    "multi_similarity_loss",
    "semi_hard_candidates",
]
