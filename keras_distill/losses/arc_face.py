"""Classify by angle, with the own class handicapped by a margin."""

import math

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch
from keras_distill.losses.proxy_loss import ProxyLoss

FORMS = ("paper", "clamped")

# The slope of arccos is infinite at 1: float32 needs this much room below it.
_ROOM = 1e-7


def arc_face_loss(labels, embeddings, proxies, margin=0.5, scale=64.0, form="paper"):
    """ArcFace loss of each example. See `ArcFace` for the formula.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers `0 .. classes - 1`.
        embeddings: Float tensor `(batch, dim)`.
        proxies: Float tensor `(classes, dim)`, normalised here.
        margin, scale, form: See `ArcFace`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.

    Raises:
        ValueError: If `form` is unknown.
    """
    batch.check_choice("form", form, FORMS)
    labels, embeddings = batch.read_batch(labels, embeddings)
    own, _, valid = batch.class_masks(labels, proxies)
    if form == "paper":
        cosines = similarity.cosine_matrix(embeddings, proxies)
        lowest = -1.0 + _ROOM
    else:
        unit = similarity.normalize(proxies)
        cosines = ops.matmul(embeddings, ops.transpose(unit))
        lowest = 1e-10
    cosines = ops.clip(cosines, lowest, 1.0 - _ROOM)  # (batch, classes)
    # cos(arccos(c) + margin), without the arccos
    handicapped = cosines * math.cos(margin) - ops.sqrt(
        1.0 - ops.square(cosines)
    ) * math.sin(margin)
    if form == "paper":
        # Beyond pi the cosine would rise again: go on falling in a straight line.
        falling = cosines >= math.cos(math.pi - margin)
        straight = cosines - margin * math.sin(margin)
        handicapped = ops.where(falling, handicapped, straight)
    logits = scale * ops.where(own, handicapped, cosines)
    rows = ops.logsumexp(logits, axis=1) - batch.masked_sum(logits, own)
    return batch.mark_invalid(rows, valid)


@keras.saving.register_keras_serializable(package="keras_distill")
class ArcFace(ProxyLoss):
    """ArcFace loss, with a learned direction for each class.

    With `t[i, c]` the angle between embedding `i` and proxy `c`, cross-entropy of the
    softmax over classes of

        scale * cos(t[i, c] + margin)   for the class of i,
        scale * cos(t[i, c])            for the others.

    Where `t + margin` would pass pi, `cos(t) - margin * sin(margin)` takes its place,
    as in the authors' code and pytorch-metric-learning (whose margin is given in
    degrees, 28.6 by default). The benchmark of Roth et al. differs
    (`form="clamped"`, there with `scale=16`): embeddings must be unit rows already, and
    cosines are clamped to [1e-10, 1], so that classes at more than a right angle have
    no influence and, where it is the example's own, no pull.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)`. Each
    example's loss is its own: sample weights do what they say. The proxies need a
    model to train them, see `TrainableLoss`. An example exactly on (within 4e-4 radian
    of) or opposite of its proxy is not moved by it.

    Args:
        num_classes: Positive integer; labels are `0 .. num_classes - 1`.
        margin: Float in [0, pi), radian. Defaults to `0.5`.
        scale: Positive float. Defaults to `64.0`.
        form: `"paper"` or `"clamped"`, see above. Defaults to `"paper"`.
        learning_rate_multiplier: See `TrainableLoss`. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"arc_face"`.

    Raises:
        ValueError: If `margin` or `scale` is out of range or `form` unknown.

    References:
        Deng et al., CVPR 2019, https://arxiv.org/abs/1801.07698, equation 3.
    """

    def __init__(
        self,
        num_classes,
        margin=0.5,
        scale=64.0,
        form="paper",
        learning_rate_multiplier=1.0,
        reduction="sum_over_batch_size",
        name="arc_face",
    ):
        super().__init__(num_classes, learning_rate_multiplier, reduction, name)
        if not 0 <= margin < math.pi:
            raise ValueError(
                "`margin` is an angle in radian and must lie in [0, pi). "
                f"Received: margin={margin}"
            )
        batch.check_positive(scale=scale)
        batch.check_choice("form", form, FORMS)
        self.margin = margin
        self.scale = scale
        self.form = form

    def formula(self, labels, embeddings):
        return arc_face_loss(
            labels, embeddings, self.proxies, self.margin, self.scale, self.form
        )

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "scale": self.scale,
            "form": self.form,
        }
