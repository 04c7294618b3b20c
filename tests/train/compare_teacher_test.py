import json
import pathlib
import shutil

import numpy as np
import pytest

import keras_distill as kd
from tests.train.tiny_comparison import TAUGHT, TEACHER, Played, done, ran, taught
from train.comparison import plan, recipe, training
from train.comparison.record import Record, alone, fingerprint


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
    cache = path.with_suffix("") / "output-2-views-seed-0"
    lessons = {"folder": str(cache), "weights": "w"}
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


@pytest.fixture
def here(finished_comparison, tmp_path, monkeypatch):
    """A copy of the finished comparison, which is the working folder."""
    shutil.copytree(finished_comparison[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


GROWN = {**TAUGHT, "L2 more": {"methods": [{"class": "FeatureL2", "weight": 9.0}]}}


def play(monkeypatch, outcome=lambda job: done(0.5, weights="new")):
    """Runs that take no time, and lessons that nobody gives."""
    monkeypatch.setattr(
        "train.comparison.teacher.lessons", lambda *_: {"folder": "", "weights": "new"}
    )
    return Played(monkeypatch, outcome)


def refused(here, message, recipe, *flags):
    """Sees that nothing of what there was is changed."""
    before = (here / "results" / "runs.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        ran(here, recipe, *flags)
    assert (here / "results" / "runs.json").read_bytes() == before


def test_another_file_in_the_teachers_place_is_refused(here, pictures):
    import keras

    (path,) = (here / "runs/compare/tiny").glob("*.keras")
    other = keras.saving.load_model(path, compile=False)
    weights = other.get_weights()
    weights[0][0] += 1e-6
    other.set_weights(weights)
    other.save(path)
    message = r"bring its file back, or.*--again teacher. Received: runs.*\.keras, with"
    with pytest.raises(ValueError, match=message):
        ran(here, taught(pictures, methods=GROWN), "--only", "L2 more")


def test_students_of_two_teachers_are_not_mixed_where_the_file_is_missing(
    here, pictures, monkeypatch
):
    played = play(monkeypatch)
    shutil.rmtree(here / "runs")
    message = (
        r"copy it there, or.*--again L2. Received: no file runs.*teacher-.*\.keras"
    )
    refused(here, message, taught(pictures, methods=GROWN))
    assert played.runs == []
    ran(here, taught(pictures, methods=GROWN), "--again", "L2")
    assert played.runs == [("teacher", 0), ("L2", 0), ("L2 more", 0)]


@pytest.mark.parametrize("retired", [False, True])
def test_nor_where_another_teacher_is_asked_for(here, pictures, monkeypatch, retired):
    played = play(monkeypatch)
    more = GROWN["L2 more"]
    methods = {"none": {"methods": []}, "L2 more": more} if retired else GROWN
    made = taught(pictures, methods=methods)
    refused(
        here, "again too: --again teacher L2. Received: ", made, "--again", "teacher"
    )
    assert played.runs == []
    ran(here, made, "--again", "teacher", "L2")
    expected = [("teacher", 0), ("L2", 0), ("L2 more", 0)]
    assert played.runs == [job for job in expected if job[0] != "L2" or not retired]


def test_nor_where_a_former_program_has_forgotten_it(here, pictures, monkeypatch):
    play(monkeypatch)
    record = Record(here / "results" / "runs.json")
    record.forget("teacher")
    record.write()
    message = "again too: --again teacher L2. Received: "
    refused(here, message, taught(pictures, methods=GROWN))
    ran(here, taught(pictures))  # Nothing is left to learn.


def test_a_second_program_is_kept_from_the_teacher_while_students_learn(
    pictures, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder, held = tmp_path / "runs/compare/tiny", []

    def outcome(job):
        with pytest.raises(ValueError, match="Another train.compare is writing"):
            with alone(folder):
                pass
        held.append(job.label)
        return done(0.5, weights="new")

    play(monkeypatch, outcome)
    with alone(folder):
        with pytest.raises(ValueError, match="Another train.comp.*runs/compare/tiny"):
            ran(tmp_path, taught(pictures), "--only", "L2")
    ran(tmp_path, taught(pictures), "--only", "L2")
    assert held == ["teacher", "L2"]


def test_a_teacher_of_another_seed_is_another_one(here, pictures, monkeypatch):
    played = play(monkeypatch)
    other = taught(pictures, teacher={**TEACHER, "seed": 1})
    message = r"of another seed.*--again teacher. Received: seed \(was 0, now 1\)"
    refused(here, message, other, "--again", "none", "L2")
    ran(here, other, "--again", "none", "L2", "teacher")
    assert played.runs == [("teacher", 1), ("none", 0), ("L2", 0)]


def test_other_views_are_asked_about_and_the_recipes_teacher_is(here, pictures):
    """Also where a former program has recorded two teachers."""
    path = here / "results" / "runs.json"
    whole = json.loads(path.read_text())
    first = whole["runs"][0]
    second = {**first, "seed": 1, "weights": "another's"}
    second["fingerprint"] = fingerprint(whole["settings"]["teacher"], 1)
    whole["runs"].append(second)
    path.write_text(json.dumps(whole))
    made = taught(pictures, teacher={**TEACHER, "views": 3})
    _, whole = ran(here, made, "--again", "none", "L2", "--only", "L2")
    run = whole["runs"][-1]
    assert (run["label"], run["teacher"]) == ("L2", first["weights"])
    (teacher,) = (here / "runs/compare/tiny").glob("teacher-*/")
    assert {folder.name for folder in teacher.iterdir()} == {
        "output-2-views-seed-0",
        "output-3-views-seed-0",
    }


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
