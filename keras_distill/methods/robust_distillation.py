"""Compare where instances lie among prototypes, and damp what two models disagree on.

Functions of the robust distillation module: Tang et al., ECCV 2022,
https://arxiv.org/abs/2210.09022. Where the released code and descriptions of the paper
differ the code is followed: coefficients are cosines, disagreement is that of the
nearest prototypes, and the loss is a smooth L1. Leading axes `...` are instances of any
arrangement, padded or not: losses come unreduced, and what is padding is left out when
they are averaged.
"""

import typing

from keras import ops

from keras_distill.methods import agreement
from keras_distill.similarity import normalize

# Below every cosine: the nearest prototype of a class that has none.
_NOWHERE = -2.0


def coefficients(features, prototypes):
    """Cosine of each instance with each prototype.

    Scale free: they say nothing of how long features are.

    Args:
        features: `(..., C)`, pooled features; normalised here.
        prototypes: `(P, C)`, raw rows; normalised here, and without gradient.

    Returns:
        Float32 `(..., P)` in [-1, 1]. A row of length 0 has cosine 0 with everything.
    """
    prototypes = normalize(ops.stop_gradient(prototypes))
    return ops.matmul(normalize(features), ops.transpose(prototypes))


def discrepancy_weights(student, teacher, labels, classes, valid=None, clip=False):
    """How far two models agree on an instance.

        weight = 1 - |max over j of student_j - max over j of teacher_j|

    over the prototypes of the instance's own class; the two maxima may be at different
    prototypes. An instance whose class has no prototype has weight 1.

    Args:
        student: `(..., P)`, coefficients.
        teacher: `(..., P)`.
        labels: Integers `(...)`.
        classes: Integers `(P,)`, the class of each prototype.
        valid: Booleans `(P,)`, which prototypes there are; `None` for all.
        clip: Whether weights below 0, which cosines more than 1 apart would give,
            become 0.

    Returns:
        Float32 `(...)` in [-1, 1], without gradient.
    """
    own = ops.expand_dims(ops.cast(labels, "int32"), -1) == ops.cast(classes, "int32")
    if valid is not None:
        own = ops.logical_and(own, ops.cast(valid, "bool"))
    nearest = [ops.max(ops.where(own, x, _NOWHERE), -1) for x in (student, teacher)]
    # A class without prototypes is nowhere in both spaces: no disagreement.
    weights = 1.0 - ops.abs(nearest[0] - nearest[1])
    if clip:
        weights = ops.maximum(weights, 0.0)
    return ops.stop_gradient(weights)


def global_loss(student, teacher, weights, valid=None):
    """How differently two models place an instance among the prototypes.

        mean over j of SmoothL1(weight * student_j - weight * teacher_j)

    with threshold 1, so that coefficients are nearly always in the quadratic region and
    the effective weight is the square of the weight.

    Args:
        student: `(..., P)`, coefficients.
        teacher: `(..., P)`; no gradient.
        weights: `(...)`; no gradient.
        valid: Booleans `(P,)`, which prototypes there are; `None` for all.

    Returns:
        Float32 `(...)`, >= 0; 0 where there are no prototypes.
    """
    student, teacher = ops.cast(student, "float32"), _fixed(teacher)
    weights = ops.expand_dims(_fixed(weights), -1)
    values = smooth_l1(weights * (student - teacher))
    if valid is None:
        return ops.mean(values, axis=-1)
    valid = ops.cast(valid, "bool")
    kept = ops.where(valid, values, 0.0)
    return ops.sum(kept, -1) / ops.maximum(ops.sum(ops.cast(valid, "float32")), 1.0)


def smooth_l1(x):
    """`x^2 / 2` where |x| < 1, `|x| - 1/2` beyond."""
    size = ops.abs(x)
    return ops.where(size < 1.0, 0.5 * ops.square(x), size - 0.5)


class LocalSums(typing.NamedTuple):
    """Squared differences of two maps, summed image by image.

    Attributes:
        foreground: Float32 `(B,)`, over cells and channels, times the mask.
        background: Float32 `(B,)`, over those cells where the mask is not above 0.
        foreground_mass: Float32 `(B,)`, what the weights sum to, channels included.
        background_mass: Float32 `(B,)`.
    """

    foreground: typing.Any
    background: typing.Any
    foreground_mass: typing.Any
    background_mass: typing.Any


def local_sums(student, teacher, mask):
    """The parts of the local losses that belong to an image.

    Args:
        student: `(B, h, w, C)`, the student's map, adapted to the teacher's width.
        teacher: `(B, h, w, C)`; no gradient.
        mask: `(B, h, w)`, see `instances.foreground_mask`; no gradient.

    Returns:
        `LocalSums`.

    Raises:
        ValueError: If the shapes of the maps differ.
    """
    student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
    agreement.of_shapes(teacher, student)
    mask = _fixed(mask)
    squares = ops.sum(ops.square(student - ops.stop_gradient(teacher)), axis=-1)
    behind = ops.cast(mask <= 0, "float32")
    channels = student.shape[-1]

    def over_cells(values):
        return ops.sum(values, axis=(1, 2))

    return LocalSums(
        over_cells(mask * squares),
        over_cells(behind * squares),
        channels * over_cells(mask),
        channels * over_cells(behind),
    )


def local_losses(sums):
    """Half the mean squared difference in the foreground, and in the background.

        sum of mask * difference^2 / max(1, 2 * sum of mask)

    with sums over batch, cells and channels. Dividing by the sum of the mask takes the
    overall scale of the weights away: how the instances of a level compare is left.

    Args:
        sums: `LocalSums` of the whole batch.

    Returns:
        Float32 `(B,)` twice: the shares of the images, whose means are the losses.
    """
    foreground, background, mass, rest = sums
    count = ops.cast(ops.shape(foreground)[0], "float32")

    def shares(part, mass):
        return count * part / ops.maximum(1.0, 2.0 * ops.sum(mass))

    return shares(foreground, mass), shares(background, rest)


def soft_label_loss(student, teacher, weights, temperature=2.0):
    """Weighted divergence of the class logits of instances.

        weight * T^2 * mean over classes of p (log p - log q)

    with `p = softmax(teacher / T)` and `q = softmax(student / T)`. The mean over
    classes is the authors'; a divergence is the sum.

    Args:
        student: `(..., classes)`, logits.
        teacher: `(..., classes)`; no gradient.
        weights: `(...)`; no gradient.
        temperature: Float > 0.

    Returns:
        Float32 `(...)`.

    Raises:
        ValueError: If the shapes of the logits differ.
    """
    student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
    agreement.of_shapes(teacher, student)
    log_p = ops.log_softmax(ops.stop_gradient(teacher) / temperature)
    log_q = ops.log_softmax(student / temperature)
    terms = ops.mean(ops.exp(log_p) * (log_p - log_q), axis=-1)
    return _fixed(weights) * temperature**2 * terms


def mean_shares(sums, counts):
    """Shares of the images in the mean over all instances of a batch.

    Args:
        sums: Float32 `(B,)`, of what an image's instances have.
        counts: Float32 `(B,)`, how many these are.

    Returns:
        Float32 `(B,)` whose mean is that over the instances; zeros where there are
        none.
    """
    images = ops.cast(ops.shape(sums)[0], "float32")
    return images * sums / ops.maximum(ops.sum(counts), 1.0)


def _fixed(x):
    return ops.stop_gradient(ops.cast(ops.convert_to_tensor(x), "float32"))
