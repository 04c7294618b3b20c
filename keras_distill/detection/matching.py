"""Which box each anchor or proposal stands for."""

from keras import ops

from keras_distill.detection.boxes import iou

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


def match(anchors, boxes, mask, high, low, force=False):
    """Gives each anchor the box it overlaps most, by thresholds of their IoU.

    Positive at `high` or more, negative below `low`, ignored between. With `force`,
    the anchors that overlap a box most are its, however little that is, so that no box
    goes without: the first of the two rules of Ren et al., NeurIPS 2015,
    https://arxiv.org/abs/1506.01497, section 3.1.2. Of padding nothing is positive;
    an image without boxes is all negative.

    Args:
        anchors: `(A, 4)`, or `(B, A, 4)`.
        boxes: `(B, M, 4)`, M >= 1.
        mask: `(B, M)` booleans: which boxes there are.
        high, low: Floats in [0, 1], `low <= high`.
        force: Boolean.

    Returns:
        `(index, state)`, int32 `(B, A)`: the place of the box among the M (anything
        where the state is not `POSITIVE`), and `POSITIVE`, `NEGATIVE` or `IGNORED`.
    """
    mask = ops.cast(mask, "bool")
    overlap = iou(anchors, boxes)  # (B, A, M)
    overlap = ops.where(mask[:, None, :], overlap, -1.0)
    index = ops.argmax(overlap, axis=-1)
    best = ops.max(overlap, axis=-1)
    state = ops.where(best >= high, POSITIVE, ops.where(best < low, NEGATIVE, IGNORED))
    if force:
        most = ops.max(overlap, axis=1, keepdims=True)  # (B, 1, M)
        theirs = (overlap >= most) & (most > 0)
        forced = ops.where(theirs, overlap, -1.0)
        is_forced = ops.any(theirs, axis=-1)
        index = ops.where(is_forced, ops.argmax(forced, axis=-1), index)
        state = ops.where(is_forced, POSITIVE, state)
    return ops.cast(index, "int32"), ops.cast(state, "int32")
