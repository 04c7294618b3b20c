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
    scores = probabilities(logits)
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


def padded(found):
    """What `detections` gives of N images, as arrays.

    Args:
        found: List of `(boxes, scores, labels)`.

    Returns:
        Dictionary of `"boxes"` `(N, D, 4)`, `"scores"` `(N, D)` and `"labels"` int32
        `(N, D)`, -1 where there is no detection. D is the largest number, at least 1.
    """
    most = max([1, *(len(labels) for _, _, labels in found)])
    boxes = np.zeros((len(found), most, 4), np.float32)
    scores = np.zeros((len(found), most), np.float32)
    labels = np.full((len(found), most), -1, np.int32)
    for row, (own, sure, classes) in enumerate(found):
        count = len(classes)
        boxes[row, :count], scores[row, :count] = own, sure
        labels[row, :count] = classes
    return {"boxes": boxes, "scores": scores, "labels": labels}


def probabilities(logits):
    """The sigmoid of logits, float32, of any shape."""
    return np.exp(-np.logaddexp(np.float32(0), -np.asarray(logits, np.float32)))


def overlaps(boxes, others):
    """IoU of each of `(N, 4)` boxes with each of `(M, 4)`: `(N, M)` in [0, 1].

    Of boxes without area it is 0.
    """
    boxes, others = np.asarray(boxes)[:, None], np.asarray(others)[None]
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [
        np.prod(some[..., 2:] - some[..., :2], axis=-1) for some in (boxes, others)
    ]
    return both / np.maximum(areas[0] + areas[1] - both, 1e-9)


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
    left = np.arange(len(boxes))
    while len(left) and len(kept) < limit:
        first, left = left[0], left[1:]
        kept.append(first)
        left = left[overlaps(boxes[[first]], boxes[left])[0] <= overlap]
    return np.array(kept, int)
