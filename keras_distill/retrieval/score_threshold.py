"""From which score on what a detector finds is worth to be shown."""

from typing import NamedTuple

import numpy as np

from keras_distill.device.detections import overlaps


class ScoreThreshold(NamedTuple):
    """A threshold, and what it gave on the images that it was chosen on.

    Attributes:
        threshold: Float in [0, 1]: what has a higher score counts.
        precision: Float in [0, 1], how much of what counts is right.
        recall: Float in [0, 1], how much of what there is is found.
    """

    threshold: float
    precision: float
    recall: float


def score_threshold(boxes, labels, found, ignored=None, overlap=0.5):
    """The threshold of the best F1, the harmonic mean of precision and recall.

    A detection is right if it overlaps a box of its class by an IoU of at least
    `overlap`, of several the one it overlaps most, and no surer one has found that box.
    Detections that are not right and overlap an ignored box of their class count
    neither way.

    Args:
        boxes: N arrays `(n, 4)`: what there is.
        labels: N arrays `(n,)` of integers.
        found: Dictionary of `"boxes"` `(N, D, 4)`, `"scores"` `(N, D)`, the best first,
            and `"labels"` `(N, D)`, -1 where there is no detection.
        ignored: N arrays `(n,)` of booleans. Defaults to none.
        overlap: Float in (0, 1]. Defaults to `0.5`.

    Returns:
        A `ScoreThreshold`: halfway between the least score that counts and the next.

    Raises:
        ValueError: If nothing that is there is found.
    """
    if ignored is None:
        ignored = [np.zeros(len(some)) for some in labels]
    ignored = [np.asarray(some, bool) for some in ignored]
    judged = [
        _judged(
            boxes[row], labels[row], ignored[row], found["boxes"][row], own, overlap
        )
        for row, own in enumerate(found["labels"])
    ]
    right = np.concatenate([one for one, _ in judged])
    counted = np.concatenate([one for _, one in judged])
    scores = np.concatenate(
        [s[own >= 0] for s, own in zip(found["scores"], found["labels"], strict=True)]
    )[counted]
    right = right[counted]
    if not right.any():
        raise ValueError(
            "The detector must find something of what is there, to choose a threshold "
            f"by it: name one. Received: {len(right)} detections, none of them right"
        )
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order].astype(np.float64), np.cumsum(right[order])
    there = sum(int((~some).sum()) for some in ignored)
    counts = np.arange(1, len(scores) + 1)
    # Equal scores are on the same side of any threshold.
    last = np.append(scores[:-1] > scores[1:], True)
    best = int(np.argmax(np.where(last, 2 * hits / (counts + there), -1)))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return ScoreThreshold(
        float((scores[best] + below) / 2),
        float(hits[best] / counts[best]),
        float(hits[best] / there),
    )


def _judged(boxes, labels, ignored, found, classes, overlap):
    """Of each detection whether it is right, and whether it counts at all."""
    classes = classes[classes >= 0]
    near = overlaps(found[: len(classes)], np.reshape(boxes, (-1, 4)))
    near = np.where(np.asarray(labels)[None] == classes[:, None], near, 0)
    right = np.zeros(len(classes), bool)
    free = ~ignored
    for place in range(len(classes)):
        open_to = np.where(free, near[place], 0)
        if len(open_to) and open_to.max() >= overlap:
            free[open_to.argmax()] = False
            right[place] = True
    beside = (near[:, ignored] >= overlap).any(axis=1)
    return right, right | ~beside
