"""COCO's figures: known cases by hand, relations, and what there is nothing of."""

import math
import sys

import numpy as np
import pytest

from keras_distill import metrics

NAMES = ["cell", "plate"]


def detections(*images, most=4):
    """The arrays of lists of `(box, score, label)`, one list an image."""
    found = {
        "boxes": np.zeros((len(images), most, 4), np.float32),
        "scores": np.zeros((len(images), most), np.float32),
        "labels": np.full((len(images), most), -1),
    }
    for row, image in enumerate(images):
        for place, (box, score, label) in enumerate(image):
            found["boxes"][row, place] = box
            found["scores"][row, place] = score
            found["labels"][row, place] = label
    return found


A, B = [10, 10, 30, 30], [50, 50, 150, 150]
FAR = [200, 200, 220, 220]
BOXES, LABELS = [[A, B], [A]], [[0, 1], [0]]


def report(found, **options):
    return metrics.detection_report(BOXES, LABELS, found, NAMES, **options)


def test_what_is_found_exactly_has_precision_one():
    got = report(detections([(A, 0.9, 0), (B, 0.8, 1)], [(A, 0.7, 0)]))
    for name in ("ap", "ap50", "ap75", "ar"):
        assert got[name] == pytest.approx(1)
    # 20^2 and 100^2 pixels, nothing between
    assert got["ap_small"] == pytest.approx(1) and got["ap_large"] == pytest.approx(1)
    assert math.isnan(got["ap_medium"])
    assert got["classes"]["cell"] == pytest.approx({"ap": 1, "ap50": 1, "boxes": 2})
    assert got["classes"]["plate"]["boxes"] == 1


def test_a_false_detection_costs_what_101_points_of_recall_say():
    # Of two cells: right, wrong, right. Precision is 1 up to recall 1/2 (51 points),
    # then 2/3 (50 points).
    found = detections([(A, 0.9, 0), (FAR, 0.8, 0), (B, 0.8, 1)], [(A, 0.7, 0)])
    expected = (51 + 50 * 2 / 3) / 101
    assert report(found)["classes"]["cell"]["ap50"] == pytest.approx(expected)
    assert report(found)["ap50"] == pytest.approx((expected + 1) / 2)


def test_a_box_of_iou_two_thirds_is_right_at_four_of_ten_thresholds():
    # 20 x 20 against the same, 20 x 30: IoU 2/3, above 0.5, 0.55, 0.6 and 0.65.
    loose = [10, 10, 30, 40]
    got = report(detections([(loose, 0.9, 0), (B, 0.8, 1)], [(loose, 0.7, 0)]))
    assert got["classes"]["cell"] == pytest.approx({"ap": 0.4, "ap50": 1, "boxes": 2})
    assert got["ap75"] == pytest.approx(0.5)


def test_a_second_detection_of_a_box_is_false():
    found = detections([(A, 0.9, 0), (A, 0.8, 0), (B, 0.8, 1)], [(A, 0.7, 0)])
    expected = (51 + 50 * 2 / 3) / 101
    assert report(found)["classes"]["cell"]["ap50"] == pytest.approx(expected)


def test_the_right_box_of_a_wrong_class_is_not_found():
    got = report(detections([(A, 0.9, 1), (B, 0.8, 0)], [(A, 0.7, 1)]))
    assert got["ap"] == 0 and got["ar"] == 0


def test_ignored_boxes_count_neither_way():
    found = detections([(A, 0.7, 0), (B, 0.8, 1)], [(A, 0.9, 0)])
    ignored = [[False, False], [True]]
    assert report(found, ignored=ignored)["ap"] == pytest.approx(1)
    assert report(found, ignored=ignored)["classes"]["cell"]["boxes"] == 1
    without = detections([(A, 0.7, 0), (B, 0.8, 1)], [])
    assert report(without, ignored=ignored)["ap"] == pytest.approx(1)
    assert report(without)["ap"] < 1


def test_sizes_are_those_of_the_original_images():
    found = detections([(A, 0.9, 0), (B, 0.8, 1)], [(A, 0.7, 0)])
    got = report(found, scales=[[0.5, 0.5]] * 2)  # 40^2 and 200^2 pixels there
    assert math.isnan(got["ap_small"])
    assert got["ap_medium"] == pytest.approx(1) and got["ap_large"] == pytest.approx(1)


def test_images_of_which_nothing_is_found_and_those_without_boxes():
    assert report(detections([], []))["ap"] == 0
    got = metrics.detection_report([[], []], [[], []], detections([], []), NAMES)
    assert math.isnan(got["ap"]) and math.isnan(got["ar"])
    empty = metrics.detection_report(
        [[], []], [[], []], detections([(A, 1, 0)], []), NAMES
    )
    assert math.isnan(empty["ap"]) and empty["classes"]["cell"]["boxes"] == 0


def test_it_prints_nothing(capsys):
    report(detections([], []))
    assert capsys.readouterr() == ("", "")


def test_what_does_not_fit_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="same images.*Received: 2 boxes"):
        report(detections([]))
    with pytest.raises(ValueError, match="labels below 2.*label=5"):
        report(detections([(A, 0.9, 5)], []))
    with pytest.raises(ValueError, match="an image to measure.*0 images"):
        metrics.detection_report([], [], detections(), NAMES)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_distill\[detect\]'"):
        report(detections([], []))
