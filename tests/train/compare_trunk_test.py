import json
import shutil

import numpy as np
import pytest

from tests.train.tiny_comparison import TEACHER, Played, done, ran, taught, tiny
from train.comparison import plan, recipe, training, trunk

TRUNK = {"data": "", "eval_classes": ["bars/1*", "bars/2*"], "dim": 5, "steps": 3}


def begun(pictures, **changes):
    """A recipe whose students begin with a trunk."""
    own = {**TRUNK, "data": str(pictures), **changes.pop("trunk", {})}
    return tiny(pictures, trunk=own, seeds=[0], steps=4, **changes)


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """A folder where both methods were run, and `runs.json`."""
    folder = tmp_path_factory.mktemp("begun")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, whole = ran(folder, begun(pictures))
    return folder, whole


@pytest.fixture
def here(finished, tmp_path, monkeypatch):
    """A copy of the finished comparison, which is the working folder."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept(folder):
    (path,) = (folder / "runs/compare/tiny").glob("trunk-*.keras")
    return path


def test_the_trunk_is_trained_once_on_its_own_data_and_every_run_names_it(finished):
    folder, whole = finished
    said = whole["trunk"]["student"]
    assert 0 <= said["figures"]["recall_at_1"] <= 1
    assert [run["trunk"] for run in whole["runs"]] == [said["weights"]] * 2
    settings = whole["settings"]["DSD"]
    assert settings["trunk"] == whole["settings"]["none"]["trunk"]
    assert settings["trunk"]["student"] == {"backbone": "conv4", "dim": 5}
    # It has seen other classes than the students will.
    assert settings["trunk"]["data"]["training"] != settings["data"]["training"]
    text = (folder / "results/table.md").read_text()
    assert "| trunk of the student | conv4, 5 numbers: 3 steps on" in text


def test_a_student_begins_with_the_trunk_and_with_a_head_of_its_own(finished):
    import keras

    folder, whole = finished
    trained = keras.saving.load_model(kept(folder), compile=False)
    settings = whole["settings"]["none"]

    def student(seed):
        return training.build(settings, (16, 16, 1), 8, seed).student

    one, two, three = student(0), student(0), student(1)
    trunk.take(kept(folder), one)
    trunk.take(kept(folder), three)
    for layer in trained.layers:
        if layer.weights and layer.name != "projection":
            for theirs, own in zip(
                layer.weights, one.get_layer(layer.name).weights, strict=True
            ):
                np.testing.assert_array_equal(own, theirs)
    heads = [model.get_layer("projection").get_weights()[0] for model in (one, two)]
    np.testing.assert_array_equal(*heads)  # as the seed draws it
    assert (heads[0] != three.get_layer("projection").get_weights()[0]).any()


def test_what_is_trained_has_taken_the_trunk(pictures, monkeypatch, tmp_path):
    """By a rate that leaves the student as it began."""
    import keras

    monkeypatch.chdir(tmp_path)
    slow = {"learning_rate": 1e-30, "weight_decay": 0.0}
    methods = {"none": {"methods": [], "optimizer": slow}}
    made = begun(pictures, methods=methods)
    students = []
    embed = training.kd.metrics.embed

    def remember(student, images):
        students.append(student)
        return embed(student, images)

    monkeypatch.setattr(training.kd.metrics, "embed", remember)
    ran(tmp_path, made)
    trained = keras.saving.load_model(kept(tmp_path), compile=False)
    _, student = students  # the trunk itself, and what begins with it
    for name in ("conv1", "conv4"):
        np.testing.assert_array_equal(
            student.get_layer(name).get_weights()[0],
            trained.get_layer(name).get_weights()[0],
        )


def test_a_second_call_trains_no_trunk(here, pictures, monkeypatch):
    more = {**begun(pictures)["methods"], "MSD": {"methods": []}}
    played = Played(monkeypatch)
    ran(here, begun(pictures, methods=more))
    assert {job.label for job in played.jobs} == {"MSD"}
    path, weights = played.jobs[0].trunk["path"], played.jobs[0].trunk["weights"]
    assert (here / path) == kept(here)
    assert weights == json.loads(kept(here).with_suffix(".json").read_text())["weights"]


def test_runs_from_two_trainings_of_the_trunk_are_not_mixed(
    here, pictures, monkeypatch
):
    shutil.rmtree(here / "runs")
    played = Played(monkeypatch, lambda job: done(0.5, weights="new"))
    more = {**begun(pictures)["methods"], "MSD": {"methods": []}}
    before = (here / "results/runs.json").read_bytes()
    message = "another training of the trunk.*--again: none; DSD. Received: .*not there"
    with pytest.raises(ValueError, match=message):
        ran(here, begun(pictures, methods=more))
    assert played.runs == [] and before == (here / "results/runs.json").read_bytes()
    ran(here, begun(pictures, methods=more), "--again", "none", "DSD")
    assert played.runs[0] == ("trunk", 0)


def test_a_teacher_has_the_trunk_of_its_own_backbone(pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "train.comparison.teacher.lessons", lambda *_: {"folder": "", "weights": "w"}
    )

    def outcome(job):
        if job.keep:
            tmp_path.joinpath(job.keep).parent.mkdir(parents=True, exist_ok=True)
            tmp_path.joinpath(job.keep).touch()
        return done(0.5, weights=f"of {job.settings['student']['backbone']}")

    played = Played(monkeypatch, outcome)
    own = {**TRUNK, "data": str(pictures), "of": ["teacher"]}
    teacher = {**TEACHER, "backbone": "conv4_8"}
    ran(tmp_path, taught(pictures, trunk=own, teacher=teacher))
    began = {job.label: job.trunk and job.trunk["weights"] for job in played.jobs}
    assert began == {"trunk": None, "teacher": "of conv4_8", "none": None, "L2": None}


def test_a_trunk_whose_training_fails_ends_the_program(pictures, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Played(monkeypatch, lambda job: {"status": "broken", "reason": "no memory"})
    with pytest.raises(ValueError, match="can begin with a trunk .*: broken, no memor"):
        ran(tmp_path, begun(pictures))
    assert not list(tmp_path.rglob("trunk-*"))


def test_only_a_student_with_a_pooled_layer_can_take_one(finished, tmp_path):
    import keras

    path = kept(finished[0])
    images = keras.Input((16, 16, 1))
    with pytest.raises(ValueError, match="needs a layer 'pooled' behind it. Received"):
        trunk.take(path, keras.Model(images, images, name="flat"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": ["students"]}, r"`trunk.of` must be a list.*Received: trunk.of=\['stu"),
        ({"of": []}, r"`trunk.of` must be a list.*Received: trunk.of=\[\]"),
        ({"data": ""}, "`trunk.data` must be a string"),
        ({"dim": 0}, "`trunk.dim` must be an integer, 1 or more"),
        ({"seed": -1}, "`trunk.seed` must be an integer, 0 or more"),
        ({"loss": ""}, "`trunk.loss` must be a string"),
        ({"stesp": 3}, "Unknown field of `trunk`.*Received: stesp"),
        ({"epochs": 3}, "`trunk` must have either steps or epochs"),
    ],
)
def test_a_trunk_is_read_strictly(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe.parse(begun("pictures", trunk={"data": "glyphs", **changes}))


def test_trials_and_grid_begin_with_the_same_file(pictures):
    tuning = {"validation_classes": ["bars/3*"], "seeds": [0]}
    methods = {"none": {"methods": [], "trials": [{}]}}
    made = recipe.parse(begun(pictures, tuning=tuning, methods=methods))
    said = training.describe(made.task, plan.trunk_data(made), made.batch)
    found = []
    for part in (False, True):
        data = plan.data(made, tuning=part)
        images = training.describe(made.task, data, made.batch) | {plan.TRUNK: said}
        settings = plan.settings(made, "none", images)[plan.TRUNK]
        found.append(trunk.job(settings, plan.trunk_data(made), "runs").keep)
    assert found[0] == found[1]
