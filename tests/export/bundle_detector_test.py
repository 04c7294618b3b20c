"""`export.bundle` of a run of `train.detector`."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import keras_distill as kd
from export import bundle as program
from export import queries, report, update
from export.demonstration.site import site
from keras_distill import device
from tests import tiny_embedder, tiny_retinanet
from tests.models.tiny_detectors import faster_rcnn


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    """The images that the detector learnt from and was measured on, as a folder."""
    root = tmp_path_factory.mktemp("data")
    content = {"classes": list(tiny_retinanet.CLASSES), "images": []}
    for split, some in (
        ("train", tiny_retinanet.train()),
        ("test", tiny_retinanet.evaluation()),
    ):
        for row, pixels in enumerate(some.images.read(range(len(some)))):
            name = f"{split}{row}.png"
            Image.fromarray(pixels).save(root / name)
            content["images"].append(
                {
                    "file": name,
                    "split": split,
                    "boxes": some.boxes[row].tolist(),
                    "labels": some.labels[row].tolist(),
                }
            )
    (root / "annotations.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def run(boxes, tmp_path_factory):
    """What `train.detector` leaves."""
    folder = tmp_path_factory.mktemp("runs") / "student"
    folder.mkdir()
    tiny_retinanet.detector().save(folder / "student.keras")
    recipe = {
        "arguments": {"data": str(boxes), "eval_split": None, "detector": "retinanet"},
        "data": {"class_names": list(tiny_retinanet.CLASSES)},
        "seed": 0,
    }
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return folder


@pytest.fixture
def asked(monkeypatch):
    """What the program asks to be written, instead of writing it."""
    arguments = {}
    manifest = json.loads((tiny_retinanet.bundle() / "manifest.json").read_text())

    def write(out, detector, train, evaluation, *rest, **others):
        names = ("recipe", "overwrite", "threshold", "max_drop")
        arguments.update(
            out=out,
            detector=detector,
            train=train,
            evaluation=evaluation,
            **dict(zip(names, rest, strict=True)),
            **others,
        )
        return manifest

    monkeypatch.setattr(kd.retrieval, "write_detector_bundle", write)
    return arguments


def test_a_run_becomes_a_bundle(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = tmp_path / "bundle"
    program.main([str(run), "--out", str(out), "--max-drop", "5"])
    manifest = json.loads((out / "manifest.json").read_text())
    said = " ".join(capsys.readouterr().out.split())
    for stage in manifest["detection"]["stages"]:
        assert stage["name"] in said and f"{100 * stage['ap']:.2f}" in said
    assert "27 boxes of 2 classes in 24 images" in said
    assert str(out / "detect_int8.tflite") in said
    # Files of the folder and images in memory are the same, and so are the bundles.
    other = json.loads((tiny_retinanet.bundle() / "manifest.json").read_text())
    for name in ("detect_f32.tflite", "detect_int8.tflite"):
        assert manifest["files"][name] == other["files"][name]
    assert manifest["decoding"] == other["decoding"]
    assert manifest["recipe"]["arguments"]["detector"] == "retinanet"
    assert len(manifest["recipe"]["fingerprint"]) == 64
    assert device.open_detector(out).check_golden()["images"] == 4


def test_the_data_of_the_run_and_flags_say_what_is_written(run, asked, capsys):
    program.main([str(run), "--out", "bundles/a"])
    assert len(asked["train"]) == 48 and len(asked["evaluation"]) == 24
    assert (asked["threshold"], asked["max_drop"]) == (None, 1.0)
    assert (asked["overwrite"], asked["runtimes"]) == (False, [])
    flags = ["--max-drop", "2", "--score", "0.3", "--runtime", "a", "--json"]
    capsys.readouterr()
    program.main([str(run), "--out", "bundles/a", *flags])
    assert (asked["threshold"], asked["max_drop"]) == (0.3, 2.0)
    assert asked["runtimes"] == ["a"]
    result = json.loads(capsys.readouterr().out)
    assert result["bundle"] == "bundles/a"
    assert {"models", "detection", "class_names", "decoding"} < set(result)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--catalogue", "x"], "--catalogue"),
        (["--whole", "--keep", "2"], "--whole, --keep"),
        (["--no-thumbnails", "--task-library"], "--thumbnails, --task-library"),
        (["--recall", "0.9", "--neighbours", "3"], "--recall, --neighbours"),
    ],
)
def test_flags_of_embedders_are_refused(run, asked, flags, said):
    with pytest.raises(ValueError, match=f"of embedders.*Received.*, {said}$"):
        program.main([str(run), "--out", "bundles/a", *flags])
    assert not asked


def test_a_score_is_of_detectors(finished_run):
    with pytest.raises(ValueError, match="--score is of detectors.*--score 0.5"):
        program.main([str(finished_run), "--out", "bundles/a", "--score", "0.5"])


def test_a_detector_of_two_stages_is_refused(run, asked, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    faster_rcnn().save(copy / "student.keras")
    with pytest.raises(ValueError, match="Only RetinaNet is exported.*a FasterRCNN"):
        program.main([str(copy), "--out", "bundles/a"])


def test_what_is_there_is_not_overwritten(run, tmp_path):
    copy = shutil.copytree(tiny_retinanet.bundle(), tmp_path / "bundle")
    with pytest.raises(FileExistsError, match="exists already"):
        program.main([str(run), "--out", str(copy)])
    assert device.open_detector(copy)


def test_programs_for_embedders_refuse_the_bundle_by_name(tmp_path):
    bundle = tiny_retinanet.bundle()
    for call in (
        lambda: update.main([str(bundle), "--remove", "a"]),
        lambda: update.main([str(bundle), "--add", str(tmp_path)]),
        lambda: site(bundle),
    ):
        with pytest.raises(
            device.BundleError, match="of an embedder, this is one of a"
        ):
            call()
    with pytest.raises(ValueError, match="must have a catalogue, that of a detector"):
        queries.main([str(bundle), "--out", str(tmp_path / "queries")])


def test_the_report_of_a_bundle_is_printed_again(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    report.main([str(tiny_retinanet.bundle())])
    said = " ".join(capsys.readouterr().out.split())
    manifest = json.loads((tiny_retinanet.bundle() / "manifest.json").read_text())
    assert f"Found is what scores above {manifest['decoding']['threshold']:.3f}" in said
    assert "in 48 images trained on" in said and "AP by class, int8: square" in said
    manifest["calibration"] = {"images": 48, "threshold": 0.25}  # one that was named
    manifest["detection"]["stages"][-1]["classes"]["bar"] = None
    report.show(tiny_retinanet.bundle(), manifest)
    said = " ".join(capsys.readouterr().out.split())
    assert "above 0.250." in said and "bar none" in said


def test_an_embedder_of_that_name_is_still_exported(finished_run, monkeypatch):
    """What kind of run it is says the model, not the recipe."""
    manifest = json.loads((tiny_embedder.bundle() / "manifest.json").read_text())
    asked = {}
    monkeypatch.setattr(
        kd.retrieval,
        "write_bundle",
        lambda out, student, **others: asked.update(others) or manifest,
    )
    program.main([str(finished_run), "--out", "bundles/a"])
    assert asked["max_drop"] == 0.5 and np.ndim(asked["calibration"]) == 4
