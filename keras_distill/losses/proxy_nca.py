"""Pull each example to the proxy of its class and away from the others."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch
from keras_distill.losses.proxy_loss import ProxyLoss


def proxy_nca_loss(labels, embeddings, proxies, scale=9.0, include_positive=False):
    """Proxy-NCA loss of each example. See `ProxyNCA` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers `0 .. classes - 1`.
        embeddings: Float tensor `(batch, dim)`, normalised here.
        proxies: Float tensor `(classes, dim)`, normalised here.
        scale, include_positive: See `ProxyNCA`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    own, others, valid = batch.class_masks(labels, proxies)
    squared = similarity.squared_distances(
        similarity.normalize(embeddings), similarity.normalize(proxies)
    )
    logits = -scale * squared  # (batch, classes)
    rivals = ops.logical_or(own, others) if include_positive else others
    rows = batch.masked_logsumexp(logits, rivals) - batch.masked_sum(logits, own)
    return batch.mark_invalid(rows, valid)


@keras.saving.register_keras_serializable(package="keras_distill")
class ProxyNCA(ProxyLoss):
    """Proxy-NCA loss, with a learned proxy for each class.

    With `d[i, c]` the distance between the unit vectors of embedding `i` and proxy `c`:

        l[i] = scale * d[i, y_i]**2 + log(sum over c != y_i of exp(-scale * d[i, c]**2))

    The sum leaves out the example's own proxy, as in the paper and the benchmark of
    Roth et al., so the loss can be negative. (They multiply both unit vectors by 3,
    which is `scale=9`.) pytorch-metric-learning has it in the sum, a plain softmax:
    `include_positive=True`; what it calls `softmax_scale` is `scale`, 1 by default.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` are
    normalised here. Each example's loss is its own: sample weights do what they say.
    The proxies need a model to train them, see `TrainableLoss`; the benchmark moves
    them 50 times faster than the model.

    Args:
        num_classes: Integer, at least 2; labels are `0 .. num_classes - 1`.
        scale: Positive float, on squared distances in [0, 4]. Defaults to `9.0`.
        include_positive: Bool, see above. Defaults to `False`.
        learning_rate_multiplier: See `TrainableLoss`. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"proxy_nca"`.

    Raises:
        ValueError: If `num_classes` is below 2 or `scale` not positive.

    References:
        Movshovitz-Attias et al., ICCV 2017, https://arxiv.org/abs/1703.07464.
    """

    def __init__(
        self,
        num_classes,
        scale=9.0,
        include_positive=False,
        learning_rate_multiplier=1.0,
        reduction="sum_over_batch_size",
        name="proxy_nca",
    ):
        super().__init__(num_classes, learning_rate_multiplier, reduction, name)
        if num_classes < 2:
            raise ValueError(
                "A proxy must have rivals: `num_classes` must be at least 2. "
                f"Received: num_classes={num_classes}"
            )
        batch.check_positive(scale=scale)
        self.scale = scale
        self.include_positive = include_positive

    def formula(self, labels, embeddings):
        return proxy_nca_loss(
            labels, embeddings, self.proxies, self.scale, self.include_positive
        )

    def get_config(self):
        return {
            **super().get_config(),
            "scale": self.scale,
            "include_positive": self.include_positive,
        }
