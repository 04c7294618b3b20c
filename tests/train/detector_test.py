"""The program: what a run leaves, what it refuses, and that it goes on."""

import argparse
import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import keras_distill as kd
from tests.conftest import ROOT
from tests.models import tiny_detectors
from tests.models.tiny_detectors import pictures
from train import detector, evaluate, saved_model
from train.detecting import models

SHORT = ["--image-size", "64", "96", "--epochs", "3", "--batch-size", "4"]
SHORT += ["--role", "student", "--measure-every", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """16 images to train on, one of them broken, and 6 to measure on."""
    root = tmp_path_factory.mktemp("data")
    content = {"classes": ["square", "bar"], "images": []}
    for split, count in (("train", 16), ("test", 6)):
        boxes = pictures(count, seed=count)
        pixels = boxes.images.read(range(count))
        for row in range(count):
            name = f"{split}{row}.png"
            Image.fromarray(pixels[row]).save(root / name)
            content["images"].append(
                {
                    "file": name,
                    "split": split,
                    "boxes": boxes.boxes[row].tolist(),
                    "labels": boxes.labels[row].tolist(),
                }
            )
    content["images"][0]["boxes"].append([5, 5, 5, 9])
    content["images"][0]["labels"].append(0)
    (root / "train3.png").write_bytes(b"no image")
    (root / "annotations.json").write_text(json.dumps(content))
    return root


# The program, and a Ctrl-C that comes just when the first epoch has been told of.
INTERRUPTED = """
import os, signal
from keras_distill import command_line
from train import detector, progress

class Interrupting(progress.EpochLine):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if epoch == 0:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
progress.EpochLine = Interrupting
command_line.run(detector.main)
"""


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A run that was interrupted after its first epoch and gone on with."""
    out = tmp_path_factory.mktemp("runs") / "student"
    arguments = ["--data", str(folder), "--detector", "retinanet", *SHORT]
    arguments += ["--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130, done.stderr
    assert "--resume goes on" in done.stderr and not (out / "metrics.json").exists()
    with pytest.warns(UserWarning, match="left out"):
        detector.main([*arguments, "--resume"])
    return out, arguments


def test_a_run_leaves_its_files_and_its_figures(run, folder, capsys):
    out, arguments = run
    assert {path.name for path in out.iterdir()} == {
        "student.keras", "recipe.json", "metrics.json", "history.csv",
        "detections.png", "tensorboard",
    }  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["last"]["epoch"] == 3 and metrics["training"]["images"] == 36
    assert metrics["skipped_images"] == 1 and metrics["dropped_boxes"] == 1
    report = metrics["last"]["evaluation"]
    assert 0 <= report["ap"] <= report["ap50"] <= 1
    assert report["ap_large"] is None  # No box has 96 pixels.
    assert set(report["classes"]) == {"square", "bar"}
    with open(out / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"loss", "class_loss", "box_loss", "val_ap50", "seconds"} <= set(rows[0])
    assert float(rows[2]["val_ap"]) == pytest.approx(report["ap"], abs=1e-6)
    assert np.asarray(Image.open(out / "detections.png")).std() > 0
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["data"]["class_names"] == ["square", "bar"]
    assert recipe["data"]["train"]["images"] == 15
    detector.main([*arguments, "--resume"])
    said = capsys.readouterr().out
    assert "The run is finished" in said and "AP50" in said
    assert "1 unusable images skipped, 1 boxes without area dropped" in said


def test_a_finished_run_is_not_replaced_unless_it_is_said(run):
    with pytest.raises(ValueError, match="There is a run already"):
        detector.main(run[1])
    with pytest.raises(ValueError, match="Received: another epochs"):
        detector.main([*run[1], "--resume", "--epochs", "9"])


def test_a_detector_is_measured_again_by_evaluate(run, folder, capsys):
    out, _ = run
    with pytest.warns(UserWarning, match="left out"):
        evaluate.main([str(out), "--data", str(folder), "--json"])
    again = json.loads(capsys.readouterr().out)
    report = json.loads((out / "metrics.json").read_text())["last"]["evaluation"]
    assert again["ap50"] == pytest.approx(report["ap50"], abs=1e-6)
    assert again["images"] == 6
    with pytest.raises(ValueError, match="are of embedders.*a RetinaNet"):
        evaluate.main([str(out), "--data", str(folder), "--classes", "all"])


def refuse(arguments, folder, out, message, error=ValueError):
    base = ["--data", str(folder), "--detector", "retinanet", "--out", str(out)]
    with pytest.raises(error, match=message):
        detector.main([*base, *SHORT, *arguments])
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--image-size", "60", "96"], "two multiples of 32.*Received: 60 96"),
        (["--learning-rate", "0"], "--learning-rate must be positive"),
        (["--weight-decay", "-1"], "--weight-decay must not be negative"),
        (["--role", "teacher", "--teacher", "x"], "A teacher is trained alone"),
        (["--method-options", "a=1"], "learns from a teacher.*Received: a=1"),
        (["--freeze-statistics"], "name one with --start. Received: --freeze"),
    ],
)
def test_arguments_that_cannot_be_are_refused_at_once(
    arguments, message, folder, tmp_path
):
    refuse(arguments, folder, tmp_path / "out", message)


def test_what_is_not_there_is_refused(run, folder, tmp_path):
    out = tmp_path / "out"
    refuse(["--teacher", "nowhere"], folder, out, "no model here", FileNotFoundError)
    refuse(["--data", "nowhere"], folder, out, "existing folder", FileNotFoundError)
    with pytest.warns(UserWarning, match="left out"):
        refuse(["--batch-size", "99"], folder, out, "between 1 and the 15 images")
    refuse(
        ["--start", str(run[0]), "--detector", "faster_rcnn"],
        folder,
        out,
        "must be a FasterRCNN.*a RetinaNet",
    )


@pytest.mark.parametrize("flag", ["--teacher", "--start"])
@pytest.mark.parametrize("form", ["run", "file"])
def test_a_model_of_other_classes_is_refused(run, folder, tmp_path, flag, form):
    """They could be told from their order alone: a run says which they are."""
    content = json.loads((folder / "annotations.json").read_text())
    for image in content["images"]:
        image["file"] = str(folder / image["file"])
    known, path = r"\['square', 'bar'\]", run[0]
    content["classes"] = ["bar", "square"]
    if form == "file":
        known, path = "2", run[0] / "student.keras"
        content["classes"] = ["square", "bar", "ring"]
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    names = ", ".join(content["classes"])
    with pytest.warns(UserWarning, match="left out"):
        refuse(
            [flag, str(path)],
            tmp_path,
            tmp_path / "out",
            f"classes of the data, {names}. Received: {flag} .*, which knows {known}",
        )


def test_a_model_of_images_of_another_size_is_refused(run, folder, tmp_path):
    for flag, message in [
        ("--start", r"images of \(64, 64, 3\).*which takes \(64, 96, 3\)"),
        ("--teacher", "must see images of one size"),
    ]:
        arguments = [flag, str(run[0]), "--image-size", "64", "64"]
        with pytest.warns(UserWarning, match="left out"):
            refuse(arguments, folder, tmp_path / "out", message)


class Refresh(kd.callbacks.PrototypeRefresh):
    """Can be found again."""

    made = []

    def __init__(self, method, data=None, **kwargs):
        super().__init__(method, data, **kwargs)
        self.made.append(self)


def test_a_teacher_teaches_a_student_that_begins_trained(
    run, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(Refresh, "made", [])
    monkeypatch.setattr(kd.callbacks, "PrototypeRefresh", Refresh)
    out = tmp_path / "taught"
    arguments = ["--data", str(folder), "--detector", "retinanet", *SHORT]
    arguments += ["--start", str(run[0]), "--teacher", str(run[0]), "--out", str(out)]
    with pytest.warns(UserWarning, match="left out"):
        detector.main([*arguments, "--epochs", "1", "--method-options", "prototypes=2"])
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["resolved"]["method_options"]["prototypes"] == 2
    assert recipe["resolved"]["method_options"]["student_layer"] == "pyramid"
    # The student began as its teacher is.
    assert recipe["data"]["start"] == recipe["data"]["teacher"]
    with open(out / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["global_knowledge_foreground"]) > 0
    assert float(row["base_loss"]) < float(row["loss"])
    # Prototypes are of the same images every time, not of the epochs that are trained
    # on: a look at these would use one up, and a resumed run would meet others.
    (refresh,) = Refresh.made
    looks = [[images.numpy() for images, _ in refresh.data] for _ in range(2)]
    np.testing.assert_array_equal(*looks)


def test_a_student_may_keep_the_statistics_that_it_begins_with(run, folder, tmp_path):
    out = tmp_path / "kept"
    arguments = ["--data", str(folder), "--detector", "retinanet", *SHORT]
    arguments += ["--start", str(run[0]), "--out", str(out), "--epochs", "1"]
    with pytest.warns(UserWarning, match="left out"):
        detector.main([*arguments, "--freeze-statistics"])
    before, after = (saved_model.load(path).weights for path in (run[0], out))
    stayed = [
        np.array_equal(now, then) for now, then in zip(after, before, strict=True)
    ]
    assert stayed == ["moving_" in variable.name for variable in before]


@pytest.mark.parametrize(
    "kind, rule, labels",
    [("retinanet", "sum", "class_logits"), ("faster_rcnn", "mean", "classify")],
)
def test_global_knowledge_is_told_of_which_kind_the_detectors_are(kind, rule, labels):
    """The authors' rules of one stage and of two, on images of another size."""
    made = getattr(tiny_detectors, kind)
    args = argparse.Namespace(
        detector=kind,
        method="global_knowledge",
        method_options=["prototypes=2", "background_weight=0.5"],
    )
    distiller, options = models.make_model(args, made(), made())
    (method,) = distiller.methods
    assert method.level_reduction == options["level_reduction"] == rule
    assert options["soft_labels"] == labels
    assert method.level_base == pytest.approx(56 * 64 / 800)  # 64 pixels high
    assert method.num_classes == 2 and method.prototypes == 2
    distiller.compile("sgd", run_eagerly=True)
    boxes = pictures(8, seed=1)
    (refresh,) = models.refreshes(
        argparse.Namespace(batch_size=8, seed=0), distiller, boxes
    )
    # Prototypes are of the images as they are, without augmentation.
    ((looked_at, _),) = refresh.data.as_numpy_iterator()
    pixels = boxes.images.read(range(8)).astype("float32")
    sums = [np.sort(images.sum(axis=(1, 2, 3))) for images in (looked_at, pixels)]
    np.testing.assert_array_equal(*sums)
    batches = kd.data.box_batches(boxes, 8)
    history = distiller.fit(batches, verbose=0, callbacks=[refresh]).history
    terms = ("global", "foreground", "background", "soft_labels")
    assert all(history[f"global_knowledge_{term}"][0] > 0 for term in terms)
    assert np.isfinite(list(history.values())).all()
