"""What a detector's bundle holds, and when none is written."""

import json
import sys

import numpy as np
import pytest

from keras_distill import Distiller, GlobalKnowledge, data, device, retrieval, tflite
from keras_distill.metrics import detect
from keras_distill.retrieval.runtime_stage import detect_elsewhere
from keras_distill.tflite.graph import read_graph
from tests import tiny_retinanet
from tests.models.tiny_detectors import SHAPE, faster_rcnn, pictures, retinanet


@pytest.fixture(scope="module")
def manifest():
    return json.loads((tiny_retinanet.bundle() / "manifest.json").read_text())


def write(out, detector=None, **others):
    options = {
        "train": tiny_retinanet.train(),
        "evaluation": tiny_retinanet.evaluation(),
        **others,
    }
    return retrieval.write_detector_bundle(
        out, detector or tiny_retinanet.detector(), **options
    )


def test_the_manifest_says_what_a_device_needs(manifest):
    detector = tiny_retinanet.detector()
    assert manifest["kind"] == "detector" and manifest["signature"] == "detect"
    assert manifest["class_names"] == ["square", "bar"]
    assert manifest["input"] == {
        "name": "image",
        "dtype": "uint8",
        "shape": list(SHAPE),
        "range": [0, 255],
        "fit": "letterbox",
        "padding": 127,
    }
    assert manifest["outputs"]["box_deltas"] == [1, len(detector.anchors), 4]
    assert manifest["anchors"]["strides"] == list(detector.strides.values())
    assert manifest["decoding"]["overlap"] == detector.overlap
    assert set(manifest["files"]) == {
        "detect_f32.tflite", "detect_int8.tflite", "golden.npz",
    }  # fmt: skip
    assert manifest["calibration"]["images"] == 48


def test_the_files_find_what_the_detector_finds(manifest):
    stages = {stage["name"]: stage for stage in manifest["detection"]["stages"]}
    assert list(stages) == ["Keras", "float32", "int8"]
    assert stages["Keras"]["ap50"] > 0.5
    assert abs(stages["float32"]["drop"]) < 0.01
    assert abs(stages["int8"]["drop"]) < 5
    for mode in ("float32", "int8"):
        own = manifest["models"][mode]
        assert own["ap"] == stages[mode]["ap"] and own["milliseconds"] > 0
    assert manifest["models"]["float32"]["logit_error"] < 1e-4
    assert 1e-4 < manifest["models"]["int8"]["logit_error"] < 0.2


def test_the_threshold_has_the_best_f1_on_images_trained_on(manifest):
    folder, boxes = tiny_retinanet.bundle(), tiny_retinanet.train()
    opened = device.open_detector(folder, threshold=0.05)
    found = opened.detector.detect_all(boxes.images.read(range(len(boxes))))
    expected = retrieval.score_threshold(boxes.boxes, boxes.labels, found)
    assert manifest["decoding"]["threshold"] == expected.threshold
    assert manifest["calibration"]["precision"] == expected.precision


def test_what_taught_the_student_is_no_part_of_the_file():
    """Trained with a teacher, adapters and prototypes, it is converted as it is."""
    student = retinanet()
    knowledge = GlobalKnowledge(
        2,
        "boxes",
        student_layer=student.pyramid.name,
        teacher_layer=tiny_retinanet.detector().pyramid.name,
        level_base=8.0,
        prototypes=2,
    )
    distiller = Distiller(student, [knowledge], teacher=tiny_retinanet.detector())
    distiller.compile("adam", run_eagerly=True)
    some = tiny_retinanet.train().subset(range(8))
    distiller.fit(data.box_batches(some, 4, seed=0).take(1), verbose=0, shuffle=False)
    weights = sum(np.size(w) for w in distiller.get_weights())
    assert weights > student.count_params()  # there is something to be left out
    images = some.images.read(range(8))
    taught = read_graph(tflite.convert_detector(distiller, "int8", images))
    bare = (tiny_retinanet.bundle() / "detect_int8.tflite").read_bytes()
    bare = read_graph(bare)  # of a detector of that kind that was trained alone
    assert [op.name for op in taught.operators] == [op.name for op in bare.operators]
    assert taught.constant_bytes == bare.constant_bytes
    assert taught.constant_bytes < 1.5 * student.count_params()


def test_a_stage_that_costs_too_much_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "convert_detector", of_the_bundle)
    with pytest.raises(tflite.VerificationError, match="AP may drop.*Received") as why:
        write(tmp_path / "bundle", max_drop=0.0, detector=Better(), threshold=0.5)
    assert why.value.check == "precision"
    assert list(tmp_path.iterdir()) == []


def of_the_bundle(detector, mode, calibration):
    """Converts in no time."""
    name = {"float32": "detect_f32.tflite", "int8": "detect_int8.tflite"}[mode]
    return (tiny_retinanet.bundle() / name).read_bytes()


class Better:
    """Stands for a distiller: its student finds more here than in a file."""

    def __init__(self):
        made = retinanet()
        made.set_weights(tiny_retinanet.detector().get_weights())
        predict = made.predict_on_batch
        boxes = tiny_retinanet.evaluation()
        padded, rows = boxes.padded(), iter(range(0, len(boxes), 8))

        def perfect(images):
            some = slice(start := next(rows), start + 8)
            found = predict(images)
            labels = padded["labels"][some]
            return {
                **found,
                "boxes": padded["boxes"][some],
                "scores": (labels >= 0).astype("float32"),
                "labels": labels,
            }

        made.predict_on_batch = perfect
        self.student = made


def test_another_python_is_a_stage(tmp_path):
    detector, boxes = tiny_retinanet.detector(), tiny_retinanet.evaluation()
    model = (tiny_retinanet.bundle() / "detect_int8.tflite").read_bytes()
    here = device.Detector(model, detector.anchors, least_score=0.3, limit=7)
    found, about = detect_elsewhere(sys.executable, model, here, boxes.images)
    assert about["runtime"] == "ai-edge-litert" and about["milliseconds"] > 0
    expected = here.detect_all(boxes.images.read(range(len(boxes))))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)
    with pytest.raises(
        ValueError, match="run the network over the images.*cannot run this"
    ):
        detect_elsewhere(sys.executable, b"no-model", here, boxes.images)


def test_detect_all_is_as_predict():
    detector, boxes = tiny_retinanet.detector(), tiny_retinanet.evaluation()
    model = (tiny_retinanet.bundle() / "detect_f32.tflite").read_bytes()
    done = []
    found = device.Detector(model, detector.anchors).detect_all(
        boxes.images.read(range(24)), done.append
    )
    assert done == list(range(1, 25))
    expected = detect(detector, boxes)
    sure = expected["scores"] > 0.1
    most = sure.sum(axis=1).max()
    np.testing.assert_allclose(
        np.where(sure, expected["scores"], 0)[:, :most],
        np.where(sure[:, :most], found["scores"][:, :most], 0),
        atol=1e-3,
    )


def test_what_is_there_is_not_overwritten(tmp_path):
    (tmp_path / "manifest.json").write_text("mine")
    with pytest.raises(FileExistsError, match=f"exists already.*out={tmp_path}"):
        write(tmp_path)
    (tmp_path / "manifest.json").rename(tmp_path / "letter.txt")
    with pytest.raises(ValueError, match="no bundle and is left alone"):
        write(tmp_path, overwrite=True)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_drop": -1}, "points of AP, 0 to 100. Received: max_drop=-1"),
        ({"threshold": 1.5}, "must lie in .0, 1.. Received: threshold=1.5"),
        ({"runtimes": ["nowhere/python"]}, "path of a Python.*nowhere/python"),
        (
            {"train": pictures(4).subset(np.zeros(4, bool))},
            "`train` must hold images.*train=<BoxSet",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_data_that_do_not_fit_are_refused(tmp_path):
    boxes = pictures(4)
    one = data.BoxSet(boxes.images, [[]] * 4, [[]] * 4, ["square"])
    other = data.BoxSet(boxes.images, [[]] * 4, [[]] * 4, ["bar", "square"])
    small = data.ImageSet(np.zeros((1, 32, 32, 3), "uint8"), [0], ["image"])
    small = data.BoxSet(small, [[]], [[]], ["square", "bar"])
    for options, message in (
        ({"evaluation": one}, "`evaluation` must have the 2 classes"),
        ({"train": other}, "must have the same classes.*'bar', 'square'"),
        ({"train": small}, r"`train` must hold images of \(64, 96, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            write(tmp_path / "out", **options)
    with pytest.raises(ValueError, match="class_logits and box_deltas alone"):
        write(tmp_path / "out", detector=faster_rcnn())
