"""Show each pair the negative that lies just behind the positive."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch
from keras_distill.losses.triplets import all_triplets_loss

NEGATIVES = ("nearest", "all")


def triplet_semi_hard_loss(
    labels, embeddings, margin=1.0, distance="L2", negatives="nearest"
):
    """Semi-hard triplet loss of each anchor. See `TripletSemiHard` for the formula.

    Takes (batch, batch, batch) floats of memory: 6 MB at 112 examples.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`.
        margin, distance, negatives: See `TripletSemiHard`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.

    Raises:
        ValueError: If `distance` or `negatives` is unknown.
    """
    similarity.check_metric(distance, "distance")
    batch.check_choice("negatives", negatives, NEGATIVES)
    if negatives == "all":
        return all_triplets_loss(labels, embeddings, margin, distance, semi_hard=True)
    labels, embeddings = batch.read_batch(labels, embeddings)
    distances = similarity.distances(embeddings, metric=distance)
    positives, others = batch.pair_masks(labels)
    # A batch of one class has pairs but no triplets.
    positives = ops.logical_and(positives, ops.any(others, axis=1)[:, None])
    to_positive = distances[:, :, None]
    to_negative = distances[:, None, :]  # (anchor, positive, negative)
    behind = ops.logical_and(others[:, None, :], to_negative > to_positive)
    nearest_behind = batch.masked_min(to_negative, behind)
    farthest = batch.masked_max(distances, others)[:, None]
    negative = ops.where(ops.any(behind, axis=2), nearest_behind, farthest)
    losses = ops.relu(ops.where(positives, distances - negative + margin, 0.0))
    return batch.mean_rows(ops.sum(losses, axis=1), batch.count(positives))


@keras.saving.register_keras_serializable(package="keras_distill")
class TripletSemiHard(keras.losses.Loss):
    """Triplet loss with semi-hard negatives, as in tensorflow-addons.

    For every ordered pair (a, p) of one class, the negative n is the nearest one that
    lies farther than p; if none does, the farthest of all:

        l[a, p] = max(0, d(a, p) - d(a, n) + margin)

    and the mean over all pairs. The rows returned are each anchor's pairs, scaled so
    that their plain mean is that. Without pairs (tensorflow-addons: NaN) or without
    negatives (tensorflow-addons: the mean pair distance plus the margin) the loss
    is 0.

    pytorch-metric-learning takes every negative within the margin behind the
    positive, `0 < d(a, n) - d(a, p) <= margin`, and averages over those triplets:
    `negatives="all"`. For one drawn triplet for each example, as in the benchmark of
    Roth et al., see `semi_hard_candidates` and `triplet_loss`.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)`
    should be unit rows. A sample weight scales the pairs that a row is the anchor of.

    Args:
        margin: Float, in units of `distance`. Defaults to `1.0`, of tensorflow-addons;
            0.2 is usual for unit rows.
        distance: `"L2"`, `"squared-L2"` or `"angular"` (1 - cosine). Defaults to
            `"L2"`.
        negatives: `"nearest"` or `"all"`, see above. Defaults to `"nearest"`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"triplet_semi_hard"`.

    Raises:
        ValueError: If `distance` or `negatives` is unknown.

    References:
        FaceNet, Schroff et al., CVPR 2015, https://arxiv.org/abs/1503.03832.
    """

    def __init__(
        self,
        margin=1.0,
        distance="L2",
        negatives="nearest",
        reduction="sum_over_batch_size",
        name="triplet_semi_hard",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        similarity.check_metric(distance, "distance")
        batch.check_choice("negatives", negatives, NEGATIVES)
        self.margin = margin
        self.distance = distance
        self.negatives = negatives

    def call(self, y_true, y_pred):
        return triplet_semi_hard_loss(
            y_true, y_pred, self.margin, self.distance, self.negatives
        )

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "distance": self.distance,
            "negatives": self.negatives,
        }
