"""The threshold of the best F1, against every threshold tried by a loop."""

import numpy as np
import pytest

from keras_distill.retrieval import score_threshold

rng = np.random.default_rng(0)


def scene(count, seed):
    """Boxes on a grid; detections near some of them, and some that are nothing."""
    rng = np.random.default_rng(seed)
    there, classes, found = [], [], []
    for _ in range(count):
        places = rng.permutation(16)[:6]
        corners = 30.0 * np.stack([places % 4, places // 4], axis=1)
        boxes = np.hstack([corners, corners + 20])
        labels = rng.integers(0, 2, 6)
        moved = boxes + rng.normal(0, 3, (6, 4))
        scores = np.round(rng.uniform(0.05, 1, 6), 1)  # with ties
        guessed = np.where(rng.random(6) < 0.8, labels, 1 - labels)
        order = np.argsort(-scores, kind="stable")
        # Three of the six boxes are there, and what was found twice is found twice.
        there.append(boxes[:3])
        classes.append(labels[:3])
        found.append((moved[order], scores[order], guessed[order]))
    names = ("boxes", "scores", "labels")
    stacked = {name: np.stack([f[i] for f in found]) for i, name in enumerate(names)}
    return there, classes, stacked


def iou(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = np.prod(np.maximum(high - low, 0))
    return both / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - both)


def counted(there, classes, found, threshold, overlap=0.5):
    """Right and all detections above a threshold."""
    right = total = 0
    for row, boxes in enumerate(there):
        free = set(range(len(boxes)))
        for place, score in enumerate(found["scores"][row]):
            label = found["labels"][row, place]
            if label < 0 or score <= threshold:
                continue
            total += 1
            near = {
                i: iou(found["boxes"][row, place], boxes[i])
                for i in free
                if classes[row][i] == label
            }
            best = max(near, key=near.get, default=None)
            if best is not None and near[best] >= overlap:
                free.remove(best)
                right += 1
    return right, total


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_has_a_better_f1(seed):
    there, classes, found = scene(7, seed)
    boxes = sum(map(len, there))

    def f1(threshold):
        right, total = counted(there, classes, found, threshold)
        return 2 * right / (total + boxes)

    chosen = score_threshold(there, classes, found)
    best = max(f1(threshold) for threshold in np.arange(0, 1, 0.05))
    assert f1(chosen.threshold) == pytest.approx(best)
    right, total = counted(there, classes, found, chosen.threshold)
    assert chosen.precision == pytest.approx(right / total)
    assert chosen.recall == pytest.approx(right / boxes)


def one(scores, labels, boxes=None):
    box = [0, 0, 10, 10]
    return {
        "boxes": np.array([boxes or [box] * len(scores)], float),
        "scores": np.array([scores]),
        "labels": np.array([labels]),
    }


def test_a_box_is_found_once_and_the_threshold_lies_between_two_scores():
    found = one([0.9, 0.5, 0.4], [0, 0, 0])
    chosen = score_threshold([[[0, 0, 10, 10]]], [[0]], found)
    assert chosen == pytest.approx((0.7, 1.0, 1.0))


def test_a_score_that_is_the_last_is_halved():
    chosen = score_threshold([[[0, 0, 10, 10]]], [[1]], one([0.6, 0.0], [1, -1]))
    assert chosen == pytest.approx((0.3, 1.0, 1.0))


def test_ignored_boxes_count_neither_way():
    boxes = [[[0, 0, 10, 10], [50, 50, 60, 60]]]
    found = one([0.9, 0.8], [0, 0], [[50, 50, 60, 60], [0, 0, 10, 10]])
    plain = score_threshold(boxes, [[0, 0]], found)
    assert plain == pytest.approx((0.4, 1.0, 1.0))
    there = score_threshold(boxes, [[0, 0]], found, [[False, True]])
    assert there == pytest.approx((0.4, 1.0, 1.0))
    # Not ignored but not there, it is wrong.
    wrong = score_threshold([boxes[0][:1]], [[0]], found)
    assert wrong == pytest.approx((0.4, 0.5, 1.0))


def test_where_nothing_is_right_there_is_none():
    for found in (one([0.9], [1]), one([0.0], [-1])):
        with pytest.raises(ValueError, match="none of them right"):
            score_threshold([[[0, 0, 10, 10]]], [[0]], found)
    with pytest.raises(ValueError, match="Received: 1 detections"):
        score_threshold([np.zeros((0, 4))], [[]], one([0.9], [0]))
