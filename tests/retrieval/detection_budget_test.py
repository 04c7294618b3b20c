"""Stages are measured as in training, and what costs too much is refused."""

import json

import numpy as np
import pytest

from keras_distill.metrics import detection_report
from keras_distill.retrieval import DetectionBudget
from keras_distill.tflite import VerificationError
from tests.models.tiny_detectors import pictures

BOXES = pictures(12, seed=3)


def truth(keep=1.0, seed=0):
    """What there is as if it had been found; a part of it."""
    rng = np.random.default_rng(seed)
    padded = BOXES.padded()
    there = padded["mask"] & (rng.random(padded["mask"].shape) < keep)
    labels = np.where(there, padded["labels"], -1)
    return {"boxes": padded["boxes"], "scores": 0.9 * there, "labels": labels}


def test_a_stage_has_the_figures_of_the_report():
    budget = DetectionBudget(BOXES, truth(), max_drop=100)
    found = truth(keep=0.6)
    stage = budget.add("half", found, milliseconds=3.5)
    report = detection_report(BOXES.boxes, BOXES.labels, found, BOXES.class_names)
    assert 0 < report["ap"] < 0.9
    assert stage["ap"] == report["ap"] and stage["ap50"] == report["ap50"]
    assert stage["drop"] == pytest.approx(100 * (1 - report["ap"]))
    assert stage["classes"]["bar"] == report["classes"]["bar"]["ap"]
    section = json.loads(json.dumps(budget.section(), allow_nan=False))
    assert [one["name"] for one in section["stages"]] == ["Keras", "half"]
    assert section["images"] == 12 and section["boxes"] == BOXES.box_count
    assert [one["milliseconds"] for one in section["stages"]] == [None, 3.5]
    assert section["stages"][0]["drop"] == 0 and section["max_drop"] == 100


def test_a_drop_beyond_the_budget_is_refused_with_its_figures():
    drop = DetectionBudget(BOXES, truth(), 100).add("x", truth(keep=0.9))["drop"]
    assert 2 < drop < 40
    enough = DetectionBudget(BOXES, truth(), drop + 0.01)
    enough.add("int8", truth(keep=0.9))
    budget = DetectionBudget(BOXES, truth(), drop - 0.01)
    with pytest.raises(VerificationError, match="100.00. Received.*'int8'") as caught:
        budget.add("int8", truth(keep=0.9))
    assert caught.value.check == "precision"
    assert f"{drop:.2f} points below" in str(caught.value)
    assert len(budget.stages) == 1


def test_a_better_stage_is_no_loss():
    budget = DetectionBudget(BOXES, truth(keep=0.6), max_drop=0)
    assert budget.add("better", truth())["drop"] < 0


def test_what_cannot_be_measured_is_refused():
    for drop in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match=f"points of AP, 0 to 100.*{drop}"):
            DetectionBudget(BOXES, truth(), drop)
    empty = BOXES.subset([row for row in range(12) if not len(BOXES.labels[row])])
    assert len(empty) > 1
    nothing = {name: values[: len(empty)] for name, values in truth(0).items()}
    with pytest.raises(ValueError, match="must be boxes to find.*Received: <BoxSet"):
        DetectionBudget(empty, nothing)
