"""Classify, with unit vectors for class weights and a temperature."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch
from keras_distill.losses.proxy_loss import ProxyLoss


def normalized_softmax_loss(labels, embeddings, proxies, temperature=0.05):
    """Cross-entropy of each example. See `NormalizedSoftmax` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers `0 .. classes - 1`.
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        proxies: Float tensor `(classes, dim)`, normalised here.
        temperature: See `NormalizedSoftmax`.

    Returns:
        Float32 tensor `(batch,)`, in nats; its plain mean is the loss.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    own, _, valid = batch.class_masks(labels, proxies)
    unit = similarity.normalize(proxies)
    logits = ops.matmul(embeddings, ops.transpose(unit)) / temperature
    rows = ops.logsumexp(logits, axis=1) - batch.masked_sum(logits, own)
    return batch.mark_invalid(rows, valid)


@keras.saving.register_keras_serializable(package="keras_distill")
class NormalizedSoftmax(ProxyLoss):
    """Normalised softmax loss, with a learned direction for each class.

    Cross-entropy of `softmax(x . p / temperature)` over unit proxies `p`, no bias: the
    usual classification baseline of metric learning. Embeddings are taken as they come
    (the embedder normalises), as in the benchmark of Roth et al.;
    pytorch-metric-learning normalises them too.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)`. Each
    example's loss is its own: sample weights do what they say. The proxies need a
    model to train them, see `TrainableLoss`.

    Args:
        num_classes: Positive integer; labels are `0 .. num_classes - 1`.
        temperature: Positive float dividing cosines. Defaults to `0.05`.
        learning_rate_multiplier: See `TrainableLoss`. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"normalized_softmax"`.

    Raises:
        ValueError: If `temperature` is not positive.

    References:
        Zhai and Wu, BMVC 2019, https://arxiv.org/abs/1811.12649.
    """

    def __init__(
        self,
        num_classes,
        temperature=0.05,
        learning_rate_multiplier=1.0,
        reduction="sum_over_batch_size",
        name="normalized_softmax",
    ):
        super().__init__(num_classes, learning_rate_multiplier, reduction, name)
        batch.check_positive(temperature=temperature)
        self.temperature = temperature

    def formula(self, labels, embeddings):
        return normalized_softmax_loss(
            labels, embeddings, self.proxies, self.temperature
        )

    def get_config(self):
        return {**super().get_config(), "temperature": self.temperature}
