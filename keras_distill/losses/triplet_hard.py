"""Show each anchor its farthest positive and its nearest negative."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch


def triplet_hard_loss(labels, embeddings, margin=1.0, soft=False, distance="L2"):
    """Batch-hard triplet loss of each anchor. See `TripletHard` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`.
        margin, soft, distance: See `TripletHard`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.

    Raises:
        ValueError: If `distance` is unknown.
    """
    similarity.check_metric(distance, "distance")
    labels, embeddings = batch.read_batch(labels, embeddings)
    distances = similarity.distances(embeddings, metric=distance)
    positives, negatives = batch.pair_masks(labels)
    # An example alone in its class is its own positive, at distance 0.
    farthest = ops.max(ops.where(positives, distances, 0.0), axis=1)
    nearest = batch.masked_min(distances, negatives)
    has_negative = ops.any(negatives, axis=1)
    gaps = farthest - ops.where(has_negative, nearest, 0.0)
    losses = ops.softplus(gaps) if soft else ops.relu(gaps + margin)
    return ops.where(has_negative, losses, 0.0)


@keras.saving.register_keras_serializable(package="keras_distill")
class TripletHard(keras.losses.Loss):
    """Triplet loss on the hardest positive and negative, as in tensorflow-addons.

    For every example as anchor, p the farthest of its class, n the nearest of another:

        l[a] = max(0, d(a, p) - d(a, n) + margin)
        l[a] = log(1 + exp(d(a, p) - d(a, n)))        if soft

    and the mean over the batch. An example alone in its class is its own positive, at
    distance 0. In a batch of one class the loss is 0 (tensorflow-addons: the margin).

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)`
    should be unit rows. A sample weight scales a row as anchor; it stays positive and
    negative of the others.

    Args:
        margin: Float, in units of `distance`; not used if `soft`. Defaults to `1.0`.
        soft: Bool, whether a softplus takes the place of margin and hinge. Defaults to
            `False`.
        distance: `"L2"`, `"squared-L2"` or `"angular"` (1 - cosine). Defaults to
            `"L2"`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"triplet_hard"`.

    Raises:
        ValueError: If `distance` is unknown.

    References:
        Hermans et al., 2017, https://arxiv.org/abs/1703.07737, equation 5.
    """

    def __init__(
        self,
        margin=1.0,
        soft=False,
        distance="L2",
        reduction="sum_over_batch_size",
        name="triplet_hard",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        similarity.check_metric(distance, "distance")
        self.margin = margin
        self.soft = soft
        self.distance = distance

    def call(self, y_true, y_pred):
        return triplet_hard_loss(y_true, y_pred, self.margin, self.soft, self.distance)

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "soft": self.soft,
            "distance": self.distance,
        }
