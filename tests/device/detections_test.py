"""The boxes of a device are those of the model that was trained."""

import numpy as np
import pytest

from keras_distill.device import detections
from keras_distill.device.detections import overlaps, padded
from tests.models.tiny_detectors import retinanet

rng = np.random.default_rng(0)


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_they_are_those_of_predict(spread):
    detector = retinanet(least_score=0.3, overlap=0.4, limit=40)
    count = len(detector.anchors)
    logits = rng.normal(-2, spread, (3, count, 2)).astype(np.float32)
    deltas = rng.normal(0, 0.5, (3, count, 4)).astype(np.float32)
    theirs = detector.detections({"class_logits": logits, "box_deltas": deltas})
    for row in range(3):
        boxes, scores, labels = detections(
            logits[row], deltas[row], detector.anchors, (64, 96), 0.3, 0.4, 40
        )
        count = len(scores)
        assert 5 < count <= 40
        assert (np.asarray(theirs["labels"])[row, count:] == -1).all()
        np.testing.assert_allclose(theirs["scores"][row, :count], scores, rtol=1e-5)
        np.testing.assert_array_equal(theirs["labels"][row, :count], labels)
        np.testing.assert_allclose(theirs["boxes"][row, :count], boxes, atol=1e-3)


def test_candidates_are_the_best_and_nothing_is_nothing():
    anchors = np.float32([[0, 0, 9, 9], [20, 20, 29, 29], [40, 40, 49, 49]])
    logits, deltas = np.float32([[1], [3], [2]]), np.zeros((3, 4))
    boxes, scores, labels = detections(logits, deltas, anchors, (64, 64), candidates=2)
    np.testing.assert_allclose(boxes, anchors[[1, 2]])
    assert scores[0] > scores[1] and labels.tolist() == [0, 0]
    boxes, scores, labels = detections(logits - 50, deltas, anchors, (64, 64))
    assert boxes.shape == (0, 4) and scores.shape == labels.shape == (0,)


def test_the_overlaps_are_intersections_over_unions():
    boxes = [[0, 0, 4, 4], [2, 2, 6, 6]]
    others = [[0, 0, 4, 4], [0, 0, 2, 8], [4, 4, 5, 5], [3, 3, 3, 3]]
    expected = [[1, 8 / 24, 0, 0], [4 / 28, 0, 1 / 16, 0]]
    np.testing.assert_allclose(overlaps(boxes, others), expected)
    assert overlaps(np.zeros((0, 4)), others).shape == (0, 4)


def test_detections_of_images_are_padded_to_those_of_the_fullest():
    one = np.ones((1, 4)), np.array([0.5]), np.array([2])
    none = np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)
    found = padded([none, one])
    assert found["boxes"].shape == (2, 1, 4)
    assert found["labels"].tolist() == [[-1], [2]]
    assert found["scores"].tolist() == [[0.0], [0.5]]
    assert padded([none])["labels"].tolist() == [[-1]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"Received: \(3, 1\), \(2, 4\), \(3, 4\)"):
        detections(np.zeros((3, 1)), np.zeros((2, 4)), np.zeros((3, 4)), (8, 8))
