"""Tell the positive of each pair from the positives of all others."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch

PAIRS = ("consecutive", "first", "all")


def npairs(labels, anchors, positives):
    """N-pair loss of given pairs, the value of tensorflow-addons.

    Softmax cross-entropy of `anchors @ positives^T` with the pairs of the anchor's
    class as equally likely targets. tensorflow-addons takes the product as `y_pred`
    and returns the mean.

    Args:
        labels: Tensor `(pairs,)` or `(pairs, 1)`, the class of each pair.
        anchors: Float tensor `(pairs, dim)`; rows are taken as they come.
        positives: Float tensor `(pairs, dim)`.

    Returns:
        Float32 tensor `(pairs,)`, in nats; its mean is the loss.

    Raises:
        ValueError: If the shapes do not agree.

    References:
        Sohn, NeurIPS 2016, Improved Deep Metric Learning with Multi-class N-pair Loss
        Objective.
    """
    labels, anchors = batch.read_batch(labels, anchors)
    _, positives = batch.read_batch(labels, positives)
    logits = ops.matmul(anchors, ops.transpose(positives))
    same = ops.equal(labels[:, None], labels[None, :])
    targets = ops.cast(same, "float32")
    targets = targets / ops.sum(targets, axis=1, keepdims=True)
    return ops.logsumexp(logits, axis=1) - ops.sum(targets * logits, axis=1)


def n_pairs_loss(labels, embeddings, pairs="consecutive", norm_weight=0.0):
    """N-pair loss of each anchor of a batch. See `NPairs` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        pairs, norm_weight: See `NPairs`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.

    Raises:
        ValueError: If `pairs` is unknown.
    """
    batch.check_choice("pairs", pairs, PAIRS)
    labels, embeddings = batch.read_batch(labels, embeddings)
    logits = ops.matmul(embeddings, ops.transpose(embeddings))
    if pairs == "all":
        rows = _against_other_classes(labels, logits)
    else:
        rows = _against_other_pairs(labels, logits, only_first=pairs == "first")
    squares = ops.sum(ops.square(embeddings), axis=1)
    return rows + norm_weight * similarity.safe_sqrt(squares)


@keras.saving.register_keras_serializable(package="keras_distill")
class NPairs(keras.losses.Loss):
    """N-pair loss, as in tensorflow-addons, with pairs made from the batch.

    Softmax cross-entropy of the inner products of anchors with the positives of all
    pairs, see `npairs`, over pairs that `pairs` makes of the batch in its order:

    * `"consecutive"`, the default: within each class the first example with the
      second, the third with the fourth...; an odd one out is not used.
    * `"first"`: the first two of each class only, as in the paper (one pair a class)
      and, on normalised rows, pytorch-metric-learning.
    * `"all"`, of the benchmark of Roth et al.: every example with a partner is an
      anchor, against all examples of other classes:
      `log(1 + sum_n exp(x_a . x_n - x_a . x_p))`. They draw the positive; here it is
      the mean over all. They add `norm_weight=0.005`.

    Moving from tensorflow-addons: there `y_pred` is the matrix of products; here it
    is the embeddings. For two batches of embeddings call `npairs`.

    The rows returned are the anchors', scaled so that their plain mean is the mean over
    anchors; other rows are 0 (plus their norm, if weighted). Without pairs the loss
    is 0.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` are
    taken as they come. The paper leaves them unnormalised: for unit rows the products
    are small and the loss stays near log(pairs). A sample weight scales a row as
    anchor.

    Args:
        pairs: `"consecutive"`, `"first"` or `"all"`. Defaults to `"consecutive"`.
        norm_weight: Float, weight of the mean length of rows. Defaults to `0.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"n_pairs"`.

    Raises:
        ValueError: If `pairs` is unknown.

    References:
        Sohn, NeurIPS 2016, Improved Deep Metric Learning with Multi-class N-pair Loss
        Objective.
    """

    def __init__(
        self,
        pairs="consecutive",
        norm_weight=0.0,
        reduction="sum_over_batch_size",
        name="n_pairs",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        batch.check_choice("pairs", pairs, PAIRS)
        self.pairs = pairs
        self.norm_weight = norm_weight

    def call(self, y_true, y_pred):
        return n_pairs_loss(y_true, y_pred, self.pairs, self.norm_weight)

    def get_config(self):
        return {
            **super().get_config(),
            "pairs": self.pairs,
            "norm_weight": self.norm_weight,
        }


def _against_other_pairs(labels, logits, only_first):
    same = ops.equal(labels[:, None], labels[None, :])
    size = ops.shape(labels)[0]
    order = ops.arange(size, dtype="int32")
    before = ops.logical_and(same, order[None, :] < order[:, None])
    rank = ops.sum(ops.cast(before, "int32"), axis=1)  # place within the class
    opens = ops.equal(rank, 0) if only_first else ops.equal(rank % 2, 0)
    follows = ops.equal(rank[None, :], rank[:, None] + 1)
    partners = ops.logical_and(ops.logical_and(same, follows), opens[:, None])
    anchors = ops.any(partners, axis=1)
    positives = ops.any(partners, axis=0)[None, :]
    targets = ops.cast(ops.logical_and(same, positives), "float32")
    targets = ops.divide_no_nan(targets, ops.sum(targets, axis=1, keepdims=True))
    losses = batch.masked_logsumexp(logits, positives) - ops.sum(
        targets * logits, axis=1
    )
    losses = ops.where(anchors, losses, 0.0)
    return batch.mean_rows(losses, batch.count(anchors))


def _against_other_classes(labels, logits):
    positives, negatives = batch.pair_masks(labels)
    rivals = batch.masked_logsumexp(logits, negatives)[:, None]
    losses = batch.masked_sum(ops.softplus(rivals - logits), positives)
    partners = batch.count(positives, axis=1)
    losses = ops.divide_no_nan(losses, partners)
    return batch.mean_rows(losses, batch.count(partners > 0.0))
