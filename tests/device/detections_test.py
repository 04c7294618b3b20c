"""The boxes of a device are those of the model that was trained."""

import numpy as np
import pytest

from keras_distill.device import detections
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


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"Received: \(3, 1\), \(2, 4\), \(3, 4\)"):
        detections(np.zeros((3, 1)), np.zeros((2, 4)), np.zeros((3, 4)), (8, 8))
