"""Suppression keeps the best of what overlaps, class by class, and pads."""

import numpy as np

from keras_distill.detection import Proposals, suppress

BOXES = np.float32([[[0, 0, 10, 10], [0, 1, 10, 10], [30, 30, 50, 50], [0, 0, 10, 4]]])
SCORES = np.float32([[[0.9, 0.1], [0.8, 0.7], [0.3, 0.04], [0.6, 0.0]]])


def kept(**options):
    found = {k: np.asarray(v)[0] for k, v in suppress(BOXES, SCORES, **options).items()}
    return [
        (box.tolist(), round(float(score), 4), int(label))
        for box, score, label in zip(
            found["boxes"], found["scores"], found["labels"], strict=True
        )
    ]


def test_the_best_of_each_class_stay_in_order():
    assert kept(limit=6) == [
        ([0, 0, 10, 10], 0.9, 0),
        ([0, 1, 10, 10], 0.7, 1),  # of another class than the first
        ([0, 0, 10, 4], 0.6, 0),  # overlaps by 0.4 only
        ([30, 30, 50, 50], 0.3, 0),
        ([0, 0, 0, 0], 0.0, -1),
        ([0, 0, 0, 0], 0.0, -1),
    ]


def test_limits_hold():
    assert [label for *_, label in kept(limit=2)] == [0, 1]
    assert [s for _, s, label in kept(limit=6, least=0.65) if label >= 0] == [0.9, 0.7]
    assert len([1 for *_, label in kept(limit=6, overlap=0.3) if label >= 0]) == 3
    assert [s for _, s, _ in kept(limit=3, candidates=2)] == [0.9, 0.7, 0.0]


def test_each_class_may_have_a_box_of_its_own():
    boxes = np.stack([BOXES, BOXES + 100], axis=2)
    found = suppress(boxes, SCORES, limit=2)
    np.testing.assert_array_equal(found["labels"], [[0, 1]])
    np.testing.assert_allclose(found["boxes"][0, 1], [100, 101, 110, 110])


def proposals(**options):
    return Proposals((64, 96, 3), {"P4": 16, "P5": 32}, 2.0, **options)


def test_proposals_are_the_best_anchors_moved():
    layer = proposals(count=3)
    own = np.concatenate(list(layer.anchors.values()))
    logits = np.full((1, len(own)), -9.0, np.float32)
    deltas = np.zeros((1, len(own), 4), np.float32)
    middle = 3 * (6 + 2) + 1  # the square of the second row, third column of P4
    logits[0, middle], logits[0, middle + 3] = 4.0, 2.0
    deltas[0, middle] = [0.25, 0, 0, np.log(0.5)]
    got = np.asarray(layer(logits, deltas))[0]
    np.testing.assert_allclose(own[middle], [24, 8, 56, 40])
    np.testing.assert_allclose(got[0], [32, 16, 64, 32], atol=1e-4)
    np.testing.assert_allclose(got[1], own[middle + 3], atol=1e-4)
    assert got.shape == (3, 4)


def test_proposals_lie_in_the_image_and_what_is_over_is_zeros():
    layer = proposals(count=200, overlap=0.2)
    count = sum(map(len, layer.anchors.values()))
    got = np.asarray(layer(np.zeros((2, count)), np.zeros((2, count, 4))))
    assert (got >= 0).all() and (got[..., 2:] <= [96, 64]).all()
    there = (got[..., 2:] > got[..., :2]).all(-1)
    assert 1 < there.sum() < 100 and (got[~there] == 0).all()


def test_proposals_outside_the_image_are_none():
    layer = proposals(count=5)
    count = sum(map(len, layer.anchors.values()))
    deltas = np.tile(np.float32([50, 50, 0, 0]), (1, count, 1))
    assert (np.asarray(layer(np.zeros((1, count)), deltas)) == 0).all()
