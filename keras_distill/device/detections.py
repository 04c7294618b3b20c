"""Boxes from the raw outputs of a detector: numpy, and nothing else."""

import numpy as np

_MOST_LOG = np.log(1000 / 16)  # as in training: exp would overflow else


def detections(
    class_logits,
    box_deltas,
    anchors,
    image_size,
    least_score=0.05,
    overlap=0.5,
    limit=100,
    candidates=1000,
):
    """Decodes, cuts off at the edges of the image, and keeps the best of each object.

    The same as `predict` of a `models.RetinaNet`: greedy non-maximum suppression, class
    by class.

    Args:
        class_logits: `(A, classes)`.
        box_deltas: `(A, 4)`.
        anchors: `(A, 4)`, x1 y1 x2 y2 in pixels: `RetinaNet.anchors`.
        image_size: `(height, width)` in pixels.
        least_score: Float in [0, 1]; only what is above counts.
        overlap: Float; of two boxes of a class with a higher IoU the better stays.
        limit: Positive integer, boxes at most.
        candidates: Positive integer; only so many anchors, the best, are looked at.

    Returns:
        `(boxes (n, 4) float32, scores (n,) float32, labels (n,) int32)`, best first.

    Raises:
        ValueError: If logits, deltas and anchors are not as many.
    """
    logits, deltas, anchors = (
        np.asarray(x, np.float32) for x in (class_logits, box_deltas, anchors)
    )
    if logits.ndim != 2 or not deltas.shape == anchors.shape == (len(logits), 4):
        raise ValueError(
            "There must be logits (A, classes), deltas and anchors (A, 4). Received: "
            f"{logits.shape}, {deltas.shape}, {anchors.shape}"
        )
    scores = np.exp(-np.logaddexp(np.float32(0), -logits))
    if len(scores) > candidates:
        best = np.argpartition(-scores.max(1), candidates - 1)[:candidates]
        scores, deltas, anchors = scores[best], deltas[best], anchors[best]
    boxes = _decoded(deltas, anchors, image_size)
    found = []
    for label in range(scores.shape[1]):
        own = scores[:, label]
        rows = np.flatnonzero(own > least_score)
        rows = rows[np.argsort(-own[rows], kind="stable")]
        kept = rows[_suppressed(boxes[rows], overlap, limit)]
        found += [(own[row], row, label) for row in kept]
    found = sorted(found, key=lambda one: -one[0])[:limit]
    rows = np.array([row for _, row, _ in found], int)
    return (
        boxes[rows],
        np.array([score for score, _, _ in found], np.float32),
        np.array([label for _, _, label in found], np.int32),
    )


def _decoded(deltas, anchors, image_size):
    size = anchors[:, 2:] - anchors[:, :2]
    centre = anchors[:, :2] + size / 2 + deltas[:, :2] * size
    half = np.exp(np.minimum(deltas[:, 2:], _MOST_LOG)) * size / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    height, width = image_size
    return np.clip(boxes, 0, np.array([width, height] * 2, np.float32))


def _suppressed(boxes, overlap, limit):
    """Places of the boxes that stay, of boxes in the order of their scores."""
    kept = []
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left = np.arange(len(boxes))
    while len(left) and len(kept) < limit:
        first, left = left[0], left[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[left, :2])
        high = np.minimum(boxes[first, 2:], boxes[left, 2:])
        both = np.prod(np.maximum(high - low, 0), axis=1)
        either = np.maximum(area[first] + area[left] - both, 1e-9)
        left = left[both / either <= overlap]
    return np.array(kept, int)
