"""Pull and push every pair, the harder the more it matters among its rivals."""

import keras
from keras import ops

from keras_distill.losses import batch


def multi_similarity_loss(
    labels,
    embeddings,
    alpha=2.0,
    beta=40.0,
    base=0.5,
    epsilon=0.1,
    one_sided=False,
):
    """Multi-similarity loss of each anchor. See `MultiSimilarity` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        alpha, beta, base, epsilon, one_sided: See `MultiSimilarity`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    similarities = ops.matmul(embeddings, ops.transpose(embeddings))
    positives, negatives = batch.pair_masks(labels)
    if epsilon is not None:
        # Mining chooses, it is not differentiated; both thresholds are of all pairs.
        fixed = ops.stop_gradient(similarities)
        hardest_negative = batch.masked_max(fixed, negatives)[:, None]
        hardest_positive = batch.masked_min(fixed, positives)[:, None]
        hard_positive = fixed - epsilon < hardest_negative
        hard_negative = fixed + epsilon > hardest_positive
        positives = ops.logical_and(positives, hard_positive)
        negatives = ops.logical_and(negatives, hard_negative)
    shifted = similarities - base
    anchors = (
        batch.log_one_plus_sum_exp(-alpha * shifted, positives) / alpha
        + batch.log_one_plus_sum_exp(beta * shifted, negatives) / beta
    )
    if one_sided or epsilon is None:
        return anchors
    complete = ops.logical_and(ops.any(positives, axis=1), ops.any(negatives, axis=1))
    anchors = ops.where(complete, anchors, 0.0)
    return batch.mean_rows(anchors, batch.count(complete))


@keras.saving.register_keras_serializable(package="keras_distill")
class MultiSimilarity(keras.losses.Loss):
    """Multi-similarity loss for `compile(loss=...)`.

    With similarities `S = x x^T`, positives P and negatives N of anchor `i`:

        keep p in P where S[i, p] - epsilon < max over N of S[i, n]
        keep n in N where S[i, n] + epsilon > min over P of S[i, p]
        l[i] = 1/alpha * log(1 + sum_p exp(-alpha * (S[i, p] - base)))
             + 1/beta  * log(1 + sum_n exp( beta  * (S[i, n] - base)))

    The loss is the mean over the anchors that keep a positive and a negative; the
    rows returned are scaled so that their plain mean is just that, the others are 0.
    No anchor left (one class only, no class twice, a batch of one): loss 0.

    That is the paper with its mining, as in the metric-learning benchmark that S2SD
    and OBD-SD use. pytorch-metric-learning differs: without a miner every pair counts
    (`epsilon=None`, and its `beta` defaults to 50); with its miner an anchor that keeps
    pairs of one side only still counts and the mean is over the batch
    (`one_sided=True`).

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` rows
    should be unit vectors, which the embedder makes them. A sample weight scales a
    row as anchor; the example stays positive or negative of the others.

    Args:
        alpha: Positive float, steepness on positives. Defaults to `2.0`.
        beta: Positive float, steepness on negatives. Defaults to `40.0`.
        base: Float, the similarity at which a pair matters moderately, a cosine in
            [-1, 1]. Defaults to `0.5`.
        epsilon: Float, how near to its hardest rival a pair must be to be kept, in
            cosine; `None` keeps all pairs of all anchors. Defaults to `0.1`.
        one_sided: Bool, whether anchors that keep only positives or only negatives
            count, and the mean is over the batch. Always so with `epsilon=None`.
            Defaults to `False`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"multi_similarity"`.

    Raises:
        ValueError: If `alpha` or `beta` is not positive.

    Example:
        model.compile("adam", loss=MultiSimilarity())

    References:
        Wang et al., CVPR 2019, https://arxiv.org/abs/1904.06627, equations 10 to 15.
    """

    def __init__(
        self,
        alpha=2.0,
        beta=40.0,
        base=0.5,
        epsilon=0.1,
        one_sided=False,
        reduction="sum_over_batch_size",
        name="multi_similarity",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        batch.check_positive(alpha=alpha, beta=beta)
        self.alpha = alpha
        self.beta = beta
        self.base = base
        self.epsilon = epsilon
        self.one_sided = one_sided

    def call(self, y_true, y_pred):
        return multi_similarity_loss(
            y_true,
            y_pred,
            self.alpha,
            self.beta,
            self.base,
            self.epsilon,
            self.one_sided,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "beta": self.beta,
            "base": self.base,
            "epsilon": self.epsilon,
            "one_sided": self.one_sided,
        }
