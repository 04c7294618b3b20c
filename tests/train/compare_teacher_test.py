import json
import pathlib

import numpy as np
import pytest

import keras_distill as kd
from tests.train.tiny_comparison import ran, tiny
from train.comparison import plan, recipe, training

METHODS = {
    "none": {"methods": []},
    "L2": {"methods": [{"class": "FeatureL2", "weight": 8.0}]},
}
TEACHER = {"backbone": "conv4", "dim": 6, "views": 2, "image_size": 20}
TEACHER["methods"] = [{"class": "S2SD", "dims": [8]}]


def taught(pictures, **changes):
    return tiny(pictures, methods=METHODS, teacher=TEACHER, **{"seeds": [0], **changes})


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """A folder where such a comparison was run, and its `runs.json`."""
    folder = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, whole = ran(folder, taught(pictures, steps=4))
    return folder, whole


def test_the_teacher_is_trained_first_and_its_figures_are_kept(finished):
    folder, whole = finished
    assert [run["label"] for run in whole["runs"]] == ["teacher", "none", "L2"]
    teacher, plain, learner = whole["runs"]
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


def test_what_the_student_learns_is_what_the_teacher_says(finished, pictures):
    """The cache, against the teacher itself on the same views."""
    import keras

    folder, whole = finished
    (path,) = (folder / "runs/compare/tiny").glob("*.keras")
    teacher = keras.saving.load_model(path, compile=False)
    assert teacher.input_shape == (None, 16, 16, 1)
    made = recipe.parse(taught(pictures, steps=4))
    data = plan.data(made)
    settings = whole["settings"]["L2"]
    lessons = {"folder": str(path.with_suffix("")), "weights": "w"}
    job = plan.Job("L2", "L2", 0, settings, data, lessons=lessons)
    images, _ = training.load(data)
    for inputs, _ in training._batches(job, images).take(2):
        said = teacher(inputs["image"], training=False)
        np.testing.assert_allclose(inputs["teacher_embedding"], said, atol=1e-5)


def test_a_finished_comparison_needs_no_teacher_any_more(
    finished, pictures, monkeypatch, tmp_path
):
    folder, whole = finished
    monkeypatch.chdir(tmp_path)  # Without runs/: another machine.
    monkeypatch.setattr("train.comparison.training.run", pytest.fail)
    _, again = ran(folder, taught(pictures, steps=4))
    assert again["runs"] == whole["runs"]
    assert not pathlib.Path("runs").exists()


def test_another_teacher_is_refused_for_those_who_learn_from_it(finished, pictures):
    folder, _ = finished
    changed = taught(pictures, steps=4)
    changed["teacher"] = {**TEACHER, "dim": 7}
    message = r"'L2' has runs.*teacher.student.dim \(was 6, now 7\)"
    with pytest.raises(ValueError, match=message):
        ran(folder, changed)


def test_tuning_has_a_teacher_of_its_own_that_saw_no_validation_class(pictures):
    tuning = {"validation_classes": ["bars/1*"], "seeds": [0]}
    methods = {name: {**entry, "trials": [{}]} for name, entry in METHODS.items()}
    made = recipe.parse({**taught(pictures), "tuning": tuning, "methods": methods})
    found = []
    for part in (False, True):
        data = plan.data(made, tuning=part)
        images = training.describe(data, made.batch)
        found.append(plan.teacher_settings(made, images)["data"])
    assert found[0]["training"] != found[1]["training"]
    assert set(found[1]) == {"training", "validation"}


def test_without_augmentation_there_is_one_view(pictures):
    made = recipe.parse(taught(pictures, augment=None))
    images = training.describe(plan.data(made), made.batch)
    settings = plan.settings(made, "L2", images)
    assert settings["views"] == {"count": 1, "seed": 0}
    kd.data.FixedViews(None, **settings["views"])
    assert json.dumps(settings)
