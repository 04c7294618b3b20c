import json
import pathlib

import numpy as np
import pytest

import keras_distill as kd
from tests.train.tiny_comparison import TAUGHT, TEACHER, ran, taught
from train.comparison import plan, recipe, training


def test_the_teacher_is_trained_first_and_its_figures_are_kept(finished_comparison):
    folder, whole = finished_comparison
    labels = [run["label"] for run in whole["runs"]]
    assert labels == ["teacher", "none", "L2", "lost"]
    teacher, plain, learner, _ = whole["runs"]
    assert 0 <= teacher["figures"]["recall_at_1"] <= 1
    assert learner["teacher"] == teacher["weights"] and "teacher" not in plain
    assert "feature_l2_distance" in learner["logs"]
    settings = whole["settings"]
    assert settings["teacher"]["student"] == {
        "backbone": "conv4",
        "dim": 6,
        "image_size": 20,
    }
    assert settings["L2"]["teacher"] == settings["teacher"]
    assert settings["L2"]["views"] == settings["none"]["views"]
    text = (folder / "results" / "table.md").read_text()
    assert "| teacher | 1 |" in text and "2 fixed views of each image" in text


def test_what_the_student_learns_is_what_the_teacher_says(
    finished_comparison, pictures
):
    """The cache, against the teacher itself on the same views."""
    import keras

    folder, whole = finished_comparison
    (path,) = (folder / "runs/compare/tiny").glob("*.keras")
    teacher = keras.saving.load_model(path, compile=False)
    assert teacher.input_shape == (None, 16, 16, 1)
    made = recipe.parse(taught(pictures))
    data = plan.data(made)
    settings = whole["settings"]["L2"]
    lessons = {"folder": str(path.with_suffix("") / "output"), "weights": "w"}
    job = plan.Job("L2", "L2", 0, settings, data, lessons=lessons)
    images, _ = training.load(made.task, data)
    for inputs, _ in training._batches(job, images).take(2):
        said = teacher(inputs["image"], training=False)
        np.testing.assert_allclose(inputs["teacher_embedding"], said, atol=1e-5)


def test_a_finished_comparison_needs_no_teacher_any_more(
    finished_comparison, pictures, monkeypatch, tmp_path
):
    folder, whole = finished_comparison
    monkeypatch.chdir(tmp_path)  # Without runs/: another machine.
    monkeypatch.setattr("train.comparison.training.run", pytest.fail)
    _, again = ran(folder, taught(pictures))
    assert again["runs"] == whole["runs"]
    assert not pathlib.Path("runs").exists()


def test_another_teacher_is_refused_for_those_who_learn_from_it(
    finished_comparison, pictures
):
    folder, _ = finished_comparison
    changed = taught(pictures, teacher={**TEACHER, "dim": 7})
    message = r"'L2' has runs.*teacher.student.dim \(was 6, now 7\)"
    with pytest.raises(ValueError, match=message):
        ran(folder, changed)


def test_tuning_has_a_teacher_of_its_own_that_saw_no_validation_class(pictures):
    tuning = {"validation_classes": ["bars/1*"], "seeds": [0]}
    methods = {name: {**entry, "trials": [{}]} for name, entry in TAUGHT.items()}
    made = recipe.parse(taught(pictures, tuning=tuning, methods=methods))
    found = []
    for part in (False, True):
        data = plan.data(made, tuning=part)
        images = training.describe(made.task, data, made.batch)
        found.append(plan.teacher_settings(made, images)["data"])
    assert found[0]["training"] != found[1]["training"]
    assert set(found[1]) == {"training", "validation"}


def test_without_augmentation_there_is_one_view(pictures):
    made = recipe.parse(taught(pictures, augment=None))
    images = training.describe(made.task, plan.data(made), made.batch)
    settings = plan.settings(made, "L2", images)
    assert settings["views"] == {"count": 1, "seed": 0}
    kd.data.FixedViews(None, **settings["views"])
    assert json.dumps(settings)
