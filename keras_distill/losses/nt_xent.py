"""Pick the positive out of the negatives, by cosine."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch


def nt_xent_loss(labels, embeddings, temperature=0.07):
    """NT-Xent loss of each anchor. See `NTXent` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`, normalised here.
        temperature: See `NTXent`.

    Returns:
        Float32 tensor `(batch,)`, in nats; its plain mean is the loss.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    logits = similarity.cosine_matrix(embeddings) / temperature
    positives, negatives = batch.pair_masks(labels)
    rivals = batch.masked_logsumexp(logits, negatives)[:, None]
    pairs = ops.softplus(rivals - logits)  # -log of the positive's share
    anchors = batch.masked_sum(pairs, positives)
    return batch.mean_rows(anchors, batch.count(positives))


@keras.saving.register_keras_serializable(package="keras_distill")
class NTXent(keras.losses.Loss):
    """Normalised, temperature-scaled cross-entropy over pairs.

    With `s` cosine over temperature, for every ordered pair (i, j) of one class:

        l[i, j] = log(exp(s[i, j]) + sum over negatives n of exp(s[i, n])) - s[i, j]

    and the mean over pairs, as in pytorch-metric-learning: the anchor's other
    positives are not in the denominator (in SupCon they are). With two views of each
    image and the image as class it is SimCLR's loss. The rows returned are each
    anchor's pairs, scaled so that their plain mean is the mean over pairs. Without
    pairs the loss is 0.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` are
    normalised here. A sample weight scales the pairs that a row is the anchor of.

    Args:
        temperature: Positive float dividing cosines. Defaults to `0.07`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"nt_xent"`.

    Raises:
        ValueError: If `temperature` is not positive.

    References:
        SimCLR, Chen et al., ICML 2020, https://arxiv.org/abs/2002.05709.
    """

    def __init__(
        self, temperature=0.07, reduction="sum_over_batch_size", name="nt_xent"
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        batch.check_positive(temperature=temperature)
        self.temperature = temperature

    def call(self, y_true, y_pred):
        return nt_xent_loss(y_true, y_pred, self.temperature)

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
