"""Geometry of boxes `(x1, y1, x2, y2)` in pixels, on a continuous axis."""

import math

from keras import ops

# A box is at most so many times as large as its anchor: exp would overflow else.
_MOST_LOG = math.log(1000 / 16)


def iou(boxes, others):
    """Intersection over union of each box with each other.

    Args:
        boxes: `(..., N, 4)`.
        others: `(..., M, 4)`.

    Returns:
        float32 `(..., N, M)` in [0, 1]; 0 where both have no area.
    """
    boxes, others = (ops.cast(x, "float32") for x in (boxes, others))
    a, b = boxes[..., :, None, :], others[..., None, :, :]
    sides = ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2])
    both = ops.prod(ops.maximum(sides, 0), axis=-1)
    either = _area(a) + _area(b) - both
    return both / ops.maximum(either, 1e-9)


def encode(boxes, anchors, deviations=(1.0, 1.0, 1.0, 1.0)):
    """What has to be added to anchors to make them boxes, as networks learn it.

        ((cx - ax) / aw, (cy - ay) / ah, log(w / aw), log(h / ah)) / deviations

    Girshick et al., CVPR 2014, https://arxiv.org/abs/1311.2524, appendix C. Sides
    below a millionth of a pixel count as that, so that padding stays finite.

    Args:
        boxes: `(..., N, 4)`.
        anchors: `(..., N, 4)` with an area.
        deviations: Four floats, the usual size of each number.

    Returns:
        float32 `(..., N, 4)`.
    """
    place, size = _centre_and_size(boxes)
    own, span = _centre_and_size(anchors)
    log = ops.log(ops.maximum(size, 1e-6) / span)
    deltas = ops.concatenate([(place - own) / span, log], axis=-1)
    return deltas / ops.array(deviations, "float32")


def decode(deltas, anchors, deviations=(1.0, 1.0, 1.0, 1.0)):
    """The inverse of `encode`; no box is more than 62.5 times as large as its anchor.

    Args:
        deltas: `(..., N, 4)`.
        anchors: `(..., N, 4)`.
        deviations: As for `encode`.

    Returns:
        float32 `(..., N, 4)`.
    """
    deltas = ops.cast(deltas, "float32") * ops.array(deviations, "float32")
    own, span = _centre_and_size(anchors)
    place = own + deltas[..., :2] * span
    half = ops.exp(ops.minimum(deltas[..., 2:], _MOST_LOG)) * span / 2
    return ops.concatenate([place - half, place + half], axis=-1)


def clip(boxes, height, width):
    """Boxes cut off at the edges of an image; of one outside, no area is left.

    Args:
        boxes: `(..., 4)`.
        height, width: Of the image, in pixels.

    Returns:
        float32 `(..., 4)`.
    """
    edge = ops.array([width, height, width, height], "float32")
    return ops.clip(ops.cast(boxes, "float32"), 0.0, edge)


def _area(boxes):
    return ops.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)


def _centre_and_size(boxes):
    boxes = ops.cast(boxes, "float32")
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + size / 2, size
