"""What is compared on one level of a pyramid: instances, and the map around them.

The functions of `robust_distillation`, on the instances of a batch.
"""

from keras import ops

from keras_distill.methods.instances import foreground_mask, pool_instances
from keras_distill.methods.robust_distillation import (
    LocalSums,
    coefficients,
    discrepancy_weights,
    global_loss,
    local_losses,
    local_sums,
)

REDUCTIONS = ("sum", "mean")


def placing(found, level, stride, bank, weighted=True, clip=False):
    """How differently two models place each instance among the prototypes of a level.

    Args:
        found: `instance_maps.Found`.
        level: String.
        stride: Number > 0, pixels a cell.
        bank: `PrototypeBank`.
        weighted: Whether disagreement damps the loss.
        clip: Whether weights below 0 become 0.

    Returns:
        Float32 `(B, M)` twice: `global_loss`, and `discrepancy_weights`.
    """
    ours, theirs = (
        pool_instances(maps[level], found.boxes, stride)
        for maps in (found.student, found.teacher)
    )
    student, teacher, there = bank.read(level)
    ours, theirs = coefficients(ours, student), coefficients(theirs, teacher)
    weights = discrepancy_weights(ours, theirs, found.labels, bank.classes, there, clip)
    damping = weights if weighted else ops.ones_like(weights)
    return global_loss(ours, theirs, damping, there), weights


def imitation(found, level, stride, adapter, weights, here):
    """How much the student's map of a level differs from the teacher's, in sums.

    Args:
        found: `instance_maps.Found`.
        level: String.
        stride: Number > 0, pixels a cell.
        adapter: Layer that brings the student's map to the teacher's width.
        weights: Float32 `(B, M)`, of the instances in the foreground.
        here: Boolean `(B, M)`, which boxes belong to this level.

    Returns:
        Float32 `(B, 4)`: the parts of `LocalSums` of each image.
    """
    teacher = found.teacher[level]
    present = ops.logical_and(found.present, here)
    mask = foreground_mask(found.boxes, weights, present, teacher.shape[1:3], stride)
    return ops.stack(local_sums(adapter(found.student[level]), teacher, mask), axis=-1)


def over_levels(sums, reduction):
    """The local losses of all levels together.

    Args:
        sums: Float32 `(B, levels, 4)`, of `imitation`, of the whole batch.
        reduction: `"sum"` or `"mean"`.

    Returns:
        Dictionary of `"foreground"` and `"background"`, float32 `(B,)`: the shares of
        the images, whose means are the losses.
    """
    levels = [
        local_losses(LocalSums(*ops.unstack(sums[:, number], 4, axis=-1)))
        for number in range(sums.shape[1])
    ]
    scale = 1.0 / len(levels) if reduction == "mean" else 1.0
    foreground, background = zip(*levels, strict=True)
    return {
        "foreground": scale * sum(foreground),
        "background": scale * sum(background),
    }
