"""Faster R-CNN: its two stages, what they learn from, and how it is kept."""

import keras
import numpy as np
import pytest

from keras_distill import models
from keras_distill.detection import encode, iou
from keras_distill.models.faster_rcnn import DEVIATIONS
from tests.models.tiny_detectors import (
    SHAPE,
    faster_rcnn,
    images,
    pictures,
    pyramid,
    targets,
)

BOXES = pictures(6, seed=1)
ROWS = np.arange(4)


@pytest.fixture(scope="module")
def fresh():
    return faster_rcnn()


@pytest.fixture(scope="module")
def outputs(fresh):
    return fresh(images(BOXES, ROWS))


def test_the_outputs_are_those_of_both_stages(fresh, outputs):
    count = 3 * (96 + 24 + 6 + 2)
    assert fresh.image_shape == SHAPE and fresh.anchors.shape == (count, 4)
    assert {name: tuple(x.shape[1:]) for name, x in outputs.items()} == {
        "P3": (8, 12, 16), "P4": (4, 6, 16), "P5": (2, 3, 16), "P6": (1, 2, 16),
        "rpn_logits": (count,), "rpn_deltas": (count, 4), "proposals": (30, 4),
        "class_logits": (30, 3), "box_deltas": (30, 2, 4),
    }  # fmt: skip


def test_a_second_look_is_the_same_whoever_asks(fresh, outputs):
    again = fresh.classify(outputs, outputs["proposals"])
    np.testing.assert_allclose(again, outputs["class_logits"], rtol=1e-4, atol=1e-6)


def test_what_is_sampled_has_its_share_of_positives_and_the_true_boxes(fresh, outputs):
    truth = targets(BOXES, ROWS)
    rois, index, positive, counted, share = map(
        np.asarray, fresh._sampled(truth, outputs)
    )
    assert rois.shape == (4, 24, 4) and positive.sum(1).max() <= 6
    assert share == pytest.approx(4 / counted.sum())
    for row in range(4):
        here = rois[row][counted[row] > 0]
        assert (here[:, 2:] > here[:, :2]).all()  # no padding of either kind
        boxes = truth["boxes"][row][truth["mask"][row]]
        if not len(boxes):
            assert positive[row].sum() == 0 < counted[row].sum()
            continue
        overlap = np.asarray(iou(rois[row], boxes))
        is_positive = positive[row] > 0
        assert (overlap.max(1)[is_positive] >= 0.5).all()
        assert (overlap.max(1)[(counted[row] > 0) & ~is_positive] < 0.5).all()
        np.testing.assert_array_equal(
            overlap.argmax(1)[is_positive], index[row][is_positive]
        )
        for box in boxes:  # A fresh network proposes none of them.
            assert (np.abs(rois[row] - box).max(1) < 1e-3).any()


def test_the_second_loss_is_that_of_loops(fresh, outputs, monkeypatch):
    truth = targets(BOXES, ROWS)
    sampled = [np.asarray(x) for x in fresh._sampled(truth, outputs)]
    monkeypatch.setattr(fresh, "_sampled", lambda *_: sampled)
    rois, index, positive, counted, _ = sampled
    seen = {k: np.asarray(v) for k, v in fresh._second_look(outputs, rois).items()}
    entropy = moved = 0.0
    for row, place in zip(*np.nonzero(counted), strict=True):
        logits = seen["class_logits"][row, place].astype(np.float64)
        label = 2
        if positive[row, place]:
            label = truth["labels"][row, index[row, place]]
            box = truth["boxes"][row, index[row, place]]
            wanted = np.asarray(encode(box[None], rois[row, place][None], DEVIATIONS))
            error = np.abs(seen["box_deltas"][row, place, label] - wanted[0])
            moved += np.where(error < 1, 0.5 * error**2, error - 0.5).sum()
        entropy += np.log(np.exp(logits).sum()) - logits[label]
    terms = fresh._second_terms(truth, outputs)
    count = counted.sum()
    assert positive.sum() > 0
    np.testing.assert_allclose(np.mean(terms["class_loss"]), entropy / count, rtol=1e-4)
    np.testing.assert_allclose(np.mean(terms["box_loss"]), moved / count, rtol=1e-4)


def test_the_first_loss_begins_at_a_guess_and_knows_the_true_anchors(fresh, outputs):
    truth = targets(BOXES, ROWS)
    terms = fresh._proposal_terms(truth, outputs)
    # Half a chance for everything.
    np.testing.assert_allclose(np.mean(terms["rpn_class_loss"]), np.log(2), atol=0.05)
    overlap = np.asarray(iou(fresh.anchors, truth["boxes"]))
    overlap = np.where(truth["mask"][:, None], overlap, -1)
    best = overlap.argmax(-1)
    is_best = (overlap >= overlap.max(1, keepdims=True)) & (overlap > 0)
    is_true = (overlap.max(-1) >= 0.7) | is_best.any(-1)
    wanted = np.take_along_axis(truth["boxes"], best[..., None], axis=1)
    perfect = {
        "rpn_logits": np.where(is_true, 30.0, -30.0).astype(np.float32),
        "rpn_deltas": np.asarray(encode(wanted, fresh.anchors)),
    }
    terms = fresh._proposal_terms(truth, {**outputs, **perfect})
    assert max(np.mean(values) for values in terms.values()) < 1e-3


def test_images_without_boxes_are_learned_from(fresh, outputs):
    truth = targets(BOXES, ROWS)
    truth["mask"][:] = False
    truth["labels"][:] = -1
    truth["boxes"][:] = 0
    terms = {k: np.asarray(v) for k, v in fresh.terms(truth, outputs).items()}
    for name, values in terms.items():
        assert np.isfinite(values).all()
        assert (values == 0).all() if "box" in name else (values > 0).all()


def test_what_the_second_stage_says_is_detected_class_by_class(fresh, outputs):
    rois = np.zeros((1, 30, 4), np.float32)
    rois[0, :2] = [[10, 10, 30, 30], [50, 20, 80, 40]]
    logits = np.tile(np.float32([-5, -5, 5]), (1, 30, 1))
    logits[0, :2] = [[4, 0, 0], [-9, 3, 0]]
    logits[0, 5] = [9, 9, -9]  # of no box: padding
    deltas = np.zeros((1, 30, 2, 4), np.float32)
    deltas[0, 0, 0] = [1, 0, 0, np.log(2) / 0.2]  # right by a tenth, twice as high
    found = fresh.detections(
        {"proposals": rois, "class_logits": logits, "box_deltas": deltas}
    )
    np.testing.assert_array_equal(found["labels"][0, :3], [0, 1, -1])
    expected = [[12, 0, 32, 40], [50, 20, 80, 40]]
    np.testing.assert_allclose(found["boxes"][0, :2], expected, atol=1e-3)
    chance = np.exp(4) / (np.exp(4) + 2)
    np.testing.assert_allclose(found["scores"][0, 0], chance, rtol=1e-4)


def test_maps_can_be_read_in_the_same_pass(fresh):
    tapped = models.tap(fresh, ["pyramid"])
    found = tapped(images(BOXES, [0]))
    np.testing.assert_array_equal(found["pyramid"]["P3"], found["output"]["P3"])


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="must be positive.*sampled=0"):
        models.FasterRCNN(pyramid(), 2, sampled=0)
    anything = keras.Sequential([keras.Input((None, None, 3)), keras.layers.ReLU()])
    with pytest.raises(ValueError, match="images of one size.*None, None, 3"):
        models.FasterRCNN(anything, 2)
