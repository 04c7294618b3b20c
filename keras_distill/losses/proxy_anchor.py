"""Let each class's proxy be an anchor that sees the whole batch."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch
from keras_distill.losses.proxy_loss import ProxyLoss

AVERAGES = ("classes", "examples")


def proxy_anchor_loss(
    labels, embeddings, proxies, margin=0.1, alpha=32.0, average="classes"
):
    """Proxy-Anchor loss of a batch. See `ProxyAnchor` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers `0 .. classes - 1`.
        embeddings: Float tensor `(batch, dim)`, normalised here.
        proxies: Float tensor `(classes, dim)`, normalised here.
        margin, alpha, average: See `ProxyAnchor`.

    Returns:
        Float32 scalar.

    Raises:
        ValueError: If `average` is unknown.
    """
    batch.check_choice("average", average, AVERAGES)
    labels, embeddings = batch.read_batch(labels, embeddings)
    own, others, valid = batch.class_masks(labels, proxies)
    cosines = similarity.cosine_matrix(embeddings, proxies)  # (batch, classes)
    pull = batch.log_one_plus_sum_exp(-alpha * (cosines - margin), own, axis=0)
    push = batch.log_one_plus_sum_exp(alpha * (cosines + margin), others, axis=0)
    if average == "classes":
        present = batch.count(ops.any(own, axis=0))
        # The pull of a class without examples is log(1 + 0).
        pull = ops.divide_no_nan(ops.sum(pull), present)
    else:
        pull = ops.divide_no_nan(ops.sum(pull * batch.count(own, 0)), batch.count(own))
    return batch.mark_invalid(pull + ops.mean(push), valid)


@keras.saving.register_keras_serializable(package="keras_distill")
class ProxyAnchor(ProxyLoss):
    """Proxy-Anchor loss, with a learned proxy for each class.

    With `c[i, k]` the cosine of embedding `i` and proxy `k`:

        pull[k] = log(1 + sum over examples of k of exp(-alpha * (c[i, k] - margin)))
        push[k] = log(1 + sum over the others of exp(alpha * (c[i, k] + margin)))
        loss = mean of pull over classes in the batch + mean of push over all classes

    as in the paper and pytorch-metric-learning. The implementation in
    LanguageGuidance_for_DML takes the mean of pull over the examples
    (`average="examples"`), which differs where classes have unequal numbers of them.

    The terms belong to classes, not to examples: every row returned is the loss of the
    whole batch. (A scalar would escape Keras's division by the number of replicas.)
    Sample weights scale it by their mean and cannot leave out an example.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` are
    normalised here. The proxies need a model to train them, see `TrainableLoss`; the
    authors move them 100 times faster than the model.

    Args:
        num_classes: Positive integer; labels are `0 .. num_classes - 1`.
        margin: Float, a cosine. Defaults to `0.1`.
        alpha: Positive float, steepness. Defaults to `32.0`.
        average: `"classes"` or `"examples"`, see above. Defaults to `"classes"`.
        learning_rate_multiplier: See `TrainableLoss`. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"proxy_anchor"`.

    Raises:
        ValueError: If `alpha` is not positive or `average` unknown.

    References:
        Kim et al., CVPR 2020, https://arxiv.org/abs/2003.13911, equation 4.
    """

    def __init__(
        self,
        num_classes,
        margin=0.1,
        alpha=32.0,
        average="classes",
        learning_rate_multiplier=1.0,
        reduction="sum_over_batch_size",
        name="proxy_anchor",
    ):
        super().__init__(num_classes, learning_rate_multiplier, reduction, name)
        batch.check_positive(alpha=alpha)
        batch.check_choice("average", average, AVERAGES)
        self.margin = margin
        self.alpha = alpha
        self.average = average

    def formula(self, labels, embeddings):
        loss = proxy_anchor_loss(
            labels, embeddings, self.proxies, self.margin, self.alpha, self.average
        )
        return ops.broadcast_to(loss, ops.shape(labels))

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "alpha": self.alpha,
            "average": self.average,
        }
