"""Lift each positive pair over all negatives of either end at once."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch


def lifted_structure_loss(labels, embeddings, margin=1.0):
    """Lifted structure loss of each anchor. See `LiftedStructure` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        margin: See `LiftedStructure`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    distances = similarity.distances(embeddings)
    positives, negatives = batch.pair_masks(labels)
    rivals = batch.masked_logsumexp(margin - distances, negatives)
    pairs = ops.logaddexp(rivals[:, None], rivals[None, :]) + distances
    pairs = ops.square(ops.relu(ops.where(positives, pairs, 0.0)))
    # Each pair is there from both ends.
    return batch.mean_rows(0.5 * ops.sum(pairs, axis=1), batch.count(positives))


@keras.saving.register_keras_serializable(package="keras_distill")
class LiftedStructure(keras.losses.Loss):
    """Lifted structured loss, as in tensorflow-addons.

    With Euclidean (not squared) distances `d`, for every pair (i, j) of one class:

        J[i, j] = d[i, j] + log(sum over negatives k of i of exp(margin - d[i, k])
                              + sum over negatives l of j of exp(margin - d[j, l]))
        loss = 1 / (2 * pairs) * sum over pairs of max(0, J)**2

    which is the paper's smooth bound. The rows returned are each anchor's pairs,
    scaled so that their plain mean is the formula. Without pairs or without negatives
    the loss is 0 (tensorflow-addons: NaN).

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` are
    taken as they come; tensorflow-addons advises against unit rows here, for the
    margin is relative to their spread. A sample weight scales a row's pairs as seen
    from its end.

    Args:
        margin: Float, a distance. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"lifted_structure"`.

    References:
        Oh Song et al., CVPR 2016, https://arxiv.org/abs/1511.06452, equation 4.
    """

    def __init__(
        self, margin=1.0, reduction="sum_over_batch_size", name="lifted_structure"
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        self.margin = margin

    def call(self, y_true, y_pred):
        return lifted_structure_loss(y_true, y_pred, self.margin)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}
