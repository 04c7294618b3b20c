import csv
import errno
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_distill as kd
from tests.conftest import ROOT
from tests.train.conftest import SHORT
from train import embedder

MEASURES = {"recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8"}
MEASURES |= {"map_at_r", "nmi"}


def history(run):
    with open(run / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_files_and_nothing_else(finished_run):
    assert {path.name for path in finished_run.iterdir()} == {
        "student.keras",
        "student_best.keras",
        "recipe.json",
        "metrics.json",
        "history.csv",
        "neighbours.png",
        "tensorboard",
    }
    assert list((finished_run / "tensorboard").rglob("events.out.*"))
    with Image.open(finished_run / "neighbours.png") as grid:
        assert min(grid.size) > 50


def test_the_student_is_a_plain_model_of_unit_vectors(finished_run):
    student = keras.saving.load_model(finished_run / "student.keras")
    assert student.input_shape == (None, 16, 16, 1)
    rows = student.predict(np.random.default_rng(0).uniform(0, 255, (5, 16, 16, 1)))
    assert rows.shape == (5, 8)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_metrics_are_those_of_each_held_out_part(finished_run):
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert metrics["last"]["epoch"] == 6 and 1 <= metrics["best"]["epoch"] <= 6
    for when in ("last", "best"):
        for part in ("evaluation", "validation"):
            report = metrics[when][part]
            assert set(report) == MEASURES
            assert all(0 <= value <= 1 for value in report.values())
    rows = history(finished_run)
    best = max(float(row["val_recall_at_1"]) for row in rows)
    assert metrics["best"]["validation"]["recall_at_1"] == pytest.approx(best)
    last = float(rows[-1]["val_map_at_r"])
    assert metrics["last"]["validation"]["map_at_r"] == pytest.approx(last, abs=1e-6)
    assert metrics["training"]["images"] == 6 * 3 * 12  # epochs of 3 batches of 12
    assert metrics["skipped_images"] == 0


def test_the_recipe_says_which_data_and_every_argument(finished_run, pictures):
    recipe = json.loads((finished_run / "recipe.json").read_text())
    arguments = recipe["arguments"]
    assert arguments["data"] == str(pictures) and arguments["dim"] == 8
    assert arguments["backbone"] == embedder.DEFAULTS["backbone"]
    assert len(recipe["data"]["fingerprint"]) >= 16
    assert recipe["data"]["image_shape"] == [16, 16, 1]
    assert recipe["data"]["train"] == {"classes": 6, "images": 36}
    assert recipe["data"]["validation"] == {"classes": 2, "images": 12}
    assert recipe["data"]["evaluation"] == {"classes": 2, "images": 12}


def test_the_history_has_a_row_an_epoch(finished_run):
    rows = history(finished_run)
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "val_recall_at_1", "seconds"} <= set(rows[0])


def test_a_finished_run_is_reported_again_at_once(finished_run, pictures, capsys):
    before = (finished_run / "student.keras").read_bytes()
    embedder.main(
        ["--data", str(pictures), "--out", str(finished_run), *SHORT, "--resume"]
    )
    said = capsys.readouterr().out
    assert "The run is finished" in said and "MAP@R" in said
    assert str(finished_run / "neighbours.png") in said.replace("\n", "")
    assert (finished_run / "student.keras").read_bytes() == before


# The program, and a Ctrl-C that comes just when the second epoch has been told of:
# one from outside would race with epochs of a few milliseconds.
INTERRUPTED = """
import os, signal, sys
from keras_distill import command_line
from train import embedder, progress

class Interrupting(progress.EpochLine):
    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

# A shell that starts the tests in the background has had it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
progress.EpochLine = Interrupting
command_line.run(embedder.main)
"""


def program(arguments, *how):
    return subprocess.run(
        [sys.executable, *(how or ("-m", "train.embedder")), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_ctrl_c_leaves_a_run_that_resume_ends_as_if_nothing_had_happened(
    finished_run, pictures, tmp_path
):
    arguments = ["--data", str(pictures), *SHORT, "--out", str(tmp_path / "run")]
    interrupted = program(arguments, "-c", INTERRUPTED)
    complaint = interrupted.stderr
    assert interrupted.returncode == 130, complaint
    assert "--resume" in complaint and "Traceback" not in complaint
    done = len(history(tmp_path / "run"))
    assert done == 2
    assert not (tmp_path / "run" / "student.keras").exists()

    resumed = program([*arguments, "--resume"])
    said = resumed.stdout
    assert resumed.returncode == 0, resumed.stderr
    assert f"epoch {done}/6" not in said and f"epoch {done + 1}/6" in said

    rows, whole = history(tmp_path / "run"), history(finished_run)
    assert [row["epoch"] for row in rows] == list("123456")
    for name in ("loss", "s2sd_distillation", "val_map_at_r"):
        np.testing.assert_allclose(
            [float(row[name]) for row in rows],
            [float(row[name]) for row in whole],
            rtol=1e-3,
        )
    assert not (tmp_path / "run" / "backup").exists()


def test_a_full_disk_at_the_end_leaves_a_run_that_resume_finishes(
    pictures, tmp_path, monkeypatch
):
    arguments = ["--data", str(pictures), *SHORT, "--out", str(tmp_path / "run")]
    arguments += ["--epochs", "1"]

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("train.embedder.run_folder.finish", full_disk)
        with pytest.raises(OSError, match="No space left"):
            embedder.main(arguments)
    student = (tmp_path / "run" / "student.keras").stat()
    embedder.main([*arguments, "--resume"])
    assert (tmp_path / "run" / "metrics.json").is_file()
    assert (tmp_path / "run" / "student.keras").stat().st_size == student.st_size
    assert [row["epoch"] for row in history(tmp_path / "run")] == ["1"]


def test_ctrl_c_in_the_first_epoch_leaves_a_run_that_resume_begins_again(
    pictures, tmp_path, monkeypatch, capsys
):
    arguments = ["--data", str(pictures), *SHORT, "--out", str(tmp_path / "run")]
    arguments += ["--epochs", "1"]

    def press_ctrl_c(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("train.progress.Record.on_epoch_end", press_ctrl_c)
        with pytest.raises(SystemExit) as stop:
            embedder.main(arguments)
    assert stop.value.code == 130 and "--resume" in capsys.readouterr().err
    embedder.main([*arguments, "--resume"])
    assert [row["epoch"] for row in history(tmp_path / "run")] == ["1"]


def test_plain_training_takes_losses_with_weights_of_their_own(pictures, tmp_path):
    embedder.main(
        ["--data", str(pictures), "--out", str(tmp_path / "run"), *SHORT]
        + ["--method", "none", "--method-options", "--epochs", "1"]
        + ["--loss", "proxy_anchor", "--loss-options", "alpha=16", "--hand"]
    )
    assert (tmp_path / "run" / "metrics.json").is_file()
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    layers = [layer["class"] for layer in recipe["resolved"]["augmentation"]]
    assert layers == [
        "RandomStrokeWidth",
        "RandomElastic",
        "RandomElastic",
        "RandomAffine",
    ]


def test_the_statistics_of_trained_weights_may_stay(pictures, tmp_path, monkeypatch):
    build = kd.models.embedder

    def trained(*args, weights):
        assert weights == "imagenet"
        student = build(*args)
        student.set_weights([w + 0.25 for w in student.get_weights()])
        return student

    monkeypatch.setattr(kd.models, "embedder", trained)
    embedder.main(
        ["--data", str(pictures), "--out", str(tmp_path / "run"), *SHORT]
        + ["--method", "none", "--method-options", "--epochs", "1"]
        + ["--weights", "imagenet", "--freeze-statistics"]
    )
    student = keras.saving.load_model(tmp_path / "run" / "student.keras")
    norm = student.get_layer("bn2")
    assert np.all(norm.moving_mean == 0.25) and np.all(norm.moving_variance == 1.25)
    assert np.all(norm.gamma != 1.25) and np.all(norm.beta != 0.25)


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--backbone", "conv5"], "conv4, .*separable.*backbone='conv5'"),
        (["--loss", "tripplet"], "multi_similarity.*'tripplet'"),
        (["--method", "s3sd"], "none, obd_sd, s2sd.*Received: --method s3sd"),
        (["--loss-options", "alfa=1"], "alpha, beta.*Received: alfa"),
        (["--method-options", "dims"], "NAME=VALUE"),
        (["--eval-classes", "stars/*"], "bars.*'stars/"),
        (["--validation-classes", "1.5"], "between 0 and 1.*Received: 1.5 of 8"),
        (["--classes-per-batch", "40"], "more classes than there are.*6 classes"),
        (["--epochs", "0"], "--epochs must be at least 1. Received: 0"),
        (["--learning-rate", "-1"], "--learning-rate must be positive. Received: -1.0"),
        (["--dim", "0"], "dim=0"),
        (["--freeze-statistics"], "name these with --weights. Received: --freeze"),
        (["--hand", "--no-augment"], "leave --no-augment out.*--hand --no-augment"),
    ],
)
def test_a_mistake_is_named_and_leaves_nothing(pictures, tmp_path, flags, message):
    with pytest.raises(ValueError, match=message):
        embedder.main(
            ["--data", str(pictures), "--out", str(tmp_path / "run"), *SHORT, *flags]
        )
    assert not (tmp_path / "run").exists()


def test_a_missing_folder_is_one_line_and_no_traceback(tmp_path):
    done = program(["--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    complaint = done.stderr
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert complaint.startswith("error: ") and complaint.count("\n") == 1
    assert str(tmp_path / "none") in complaint


def test_unreadable_images_are_counted_in_the_metrics(pictures, tmp_path, recwarn):
    shutil.copytree(pictures, tmp_path / "pictures")
    (tmp_path / "pictures" / "bars" / "10" / "broken.png").write_bytes(b"no image")
    embedder.main(
        ["--data", str(tmp_path / "pictures"), "--out", str(tmp_path / "run")]
        + [*SHORT, "--epochs", "1", "--method-options", "dims=16"]
    )
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["skipped_images"] == 1


def test_a_run_learns_from_the_student_of_another(finished_run, pictures, tmp_path):
    options = SHORT[: SHORT.index("--method-options")]
    options += ["--classes-per-batch", "4", "--images-per-class", "3", "--epochs", "2"]
    options += ["--method", "pad", "--method-options", "term=feature_l2", "warm_up=2"]
    options += ["--teacher", str(finished_run), "--data", str(pictures)]
    cached = ["--teacher-cache", str(tmp_path / "cache"), "--teacher-views", "2"]
    logs = {}
    for name, how in {"live": [], "cached": cached}.items():
        embedder.main([*options, *how, "--out", str(tmp_path / name)])
        logs[name] = history(tmp_path / name)[-1]
    assert (tmp_path / "cache" / "embeddings.npy").is_file()
    for last in logs.values():
        assert float(last["pad_feature_l2_distance"]) > 0
        assert float(last["pad_feature_l2_adaptive"]) != 0
    student = keras.saving.load_model(tmp_path / "cached" / "student.keras")
    assert [layer.name for layer in student.layers][-2:] == ["projection", "embedding"]


def test_a_cache_without_a_teacher_is_refused(pictures, tmp_path):
    with pytest.raises(ValueError, match="name one with --teacher"):
        embedder.main(
            ["--data", str(pictures), "--out", str(tmp_path), "--teacher-cache", "x"]
        )


def test_a_teacher_that_is_not_there_is_named(pictures, tmp_path):
    arguments = ["--data", str(pictures), "--out", str(tmp_path / "run")]
    arguments += ["--method", "relational_kl", "--teacher", str(tmp_path / "nothing")]
    with pytest.raises(FileNotFoundError, match="no model here.*nothing"):
        embedder.main(arguments)
    assert not (tmp_path / "run").exists()


def test_a_cache_cannot_stand_in_for_the_layers_of_a_teacher(
    finished_run, pictures, tmp_path
):
    arguments = ["--data", str(pictures), "--out", str(tmp_path / "run")]
    arguments += ["--eval-classes", "bars/7*", "--image-size", "16"]
    arguments += ["--classes-per-batch", "4", "--teacher", str(finished_run)]
    arguments += ["--teacher-cache", str(tmp_path / "cache")]
    layer = ["--method-options", "teacher_layer=pooled"]
    with pytest.raises(ValueError, match="not its inner layers.*teacher_layer=pooled"):
        embedder.main([*arguments, "--method", "relational_kl", *layer])
    with pytest.raises(ValueError, match="No method here learns from a teacher"):
        embedder.main([*arguments, "--method", "s2sd"])
    assert not (tmp_path / "cache").exists() and not (tmp_path / "run").exists()
