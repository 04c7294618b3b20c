"""A detector where it belongs: one runtime, numpy, no TensorFlow."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_distill import device
from keras_distill.retrieval import DetectionBudget
from keras_distill.retrieval.runtime_stage import detect_elsewhere
from tests import tiny_embedder, tiny_retinanet
from tests.device.environments import run


def test_the_golden_images_give_what_they_gave_at_the_export(python, runtime):
    program = (
        "import json, sys, keras_distill.device as d\n"
        "print(json.dumps(d.open_detector(sys.argv[1]).check_golden()))"
    )
    found = json.loads(run(python, "-c", program, tiny_retinanet.bundle()))
    assert found["runtime"] == runtime
    assert found["score_difference"] <= 0.05 and found["offset_difference"] <= 0.25
    assert found["found_again"] == found["objects"] > 0


@pytest.mark.parametrize("mode, most", [("f32", 0.01), ("int8", 3.0)])
def test_the_precision_there_is_that_of_the_detector(python, runtime, mode, most):
    boxes = tiny_retinanet.evaluation()
    model = (tiny_retinanet.bundle() / f"detect_{mode}.tflite").read_bytes()
    here = device.Detector(model, tiny_retinanet.detector().anchors)
    found = here.detect_all(boxes.images.read(range(len(boxes))))
    budget = DetectionBudget(boxes, found, max_drop=100)
    there, about = detect_elsewhere(python, model, here, boxes.images)
    assert about["runtime"] == runtime
    stage = budget.add(runtime, there, about["milliseconds"])
    assert abs(stage["drop"]) <= most


def test_the_search_program_finds_things_there(python, tmp_path):
    pixels = tiny_retinanet.evaluation().images.read(range(24))
    opened = device.open_detector(tiny_retinanet.bundle(), threshold=0.3)
    row = max(range(24), key=lambda row: len(opened.detect(pixels[row])[1]))
    file = tmp_path / "photo.png"
    Image.fromarray(pixels[row]).save(file)
    command = ["-m", "export.search", tiny_embedder.bundle(), file, "--detector"]
    command += [tiny_retinanet.bundle(), "--score", "0.3", "--k", "2"]
    (result,) = json.loads(run(python, *command, "--json"))
    here = opened.find(file)
    sure = here.scores > 0.4
    assert sure.any() and len(result["objects"]) >= sure.sum()
    for thing, box, name in zip(
        result["objects"], here.boxes[sure], here.names, strict=False
    ):
        assert thing["class"] == name
        np.testing.assert_allclose(thing["box"], box, atol=2.5)
        assert len(thing["neighbours"]) == 2
    # Without rich it prints plain lines.
    lines = run(python, *command).splitlines()
    assert lines[0].startswith(f"{file}: ")
    assert lines[1].startswith(f"{result['objects'][0]['class']}, score ")
    assert sum("pattern" in line for line in lines) == 2 * len(result["objects"])
