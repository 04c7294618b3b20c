import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.train.tiny_comparison import Played, done, ran, tiny
from train.comparison import plan, recipe, training
from train.comparison.record import DIVERGED

TUNING = {"validation_classes": ["bars/1*", "bars/2*"], "seeds": [5, 6], "steps": 4}
METHODS = {
    "none": {"methods": [], "trials": [{}, {"learning_rate": 0.1}]},
    "DSD": {
        "methods": [{"class": "S2SD", "dims": [16]}],
        "trials": [{"weight": 1.0}, {"weight": 2.0}],
    },
}


def tuned(pictures, **changes):
    return tiny(
        pictures, tuning=TUNING, methods=METHODS, **{"seeds": [0, 1], **changes}
    )


def by_rate_and_weight(job):
    """The second trial of both is better; of the rest, a little for the seed."""
    settings = job.settings
    better = settings["optimizer"]["learning_rate"] > 0.05
    better |= any(spec["weight"] > 1.5 for spec in settings["methods"])
    return done(0.5 + 0.2 * better + job.seed / 100)


@pytest.fixture
def played(monkeypatch):
    return Played(monkeypatch, by_rate_and_weight)


def test_trials_come_first_and_the_best_of_each_method_is_compared(
    pictures, tmp_path, played
):
    _, whole = ran(tmp_path, tuned(pictures))
    trials, grid = played.jobs[:8], played.jobs[8:]
    assert [(job.label, job.seed) for job in trials[:4]] == [
        ("none, trial 1", 5),
        ("none, trial 2", 5),
        ("DSD, trial 1", 5),
        ("DSD, trial 2", 5),
    ]
    assert {job.seed for job in trials} == {5, 6}
    assert {job.settings["steps"] for job in trials} == {4 * 1}
    assert [(job.label, job.seed) for job in grid] == [
        ("none", 0),
        ("DSD", 0),
        ("none", 1),
        ("DSD", 1),
    ]
    assert grid[0].settings["optimizer"]["learning_rate"] == 0.1
    assert grid[1].settings["methods"][0]["weight"] == 2.0
    assert whole["settings"]["DSD"]["methods"][0]["weight"] == 2.0
    results = tmp_path / "results"
    kept = json.loads((results / "tuning.json").read_text())
    assert len(kept["runs"]) == 8 and "evaluation" not in kept["data"]
    text = (results / "tuning.md").read_text()
    assert '| none | `{"learning_rate": 0.1}` | 2 | **75.50' in text
    assert '| DSD | `{"weight": 1.0}` | 2 | 55.50' in text
    assert "| none | as it stands | 2 | 55.50" in text
    assert "best of 2 trials of each method" in (results / "table.md").read_text()
    played.jobs = []
    ran(tmp_path, tuned(pictures))
    assert played.jobs == []


def test_of_equals_the_first_is_taken_and_never_one_that_diverged(
    pictures, tmp_path, played
):
    played.outcomes = lambda job: done(0.5)
    ran(tmp_path, tuned(pictures))
    assert played.jobs[-1].settings["methods"][0]["weight"] == 1.0

    def outcome(job):
        if job.label == "DSD, trial 1" and job.seed == 6:
            return {"status": DIVERGED, "reason": "loss nan in epoch 1"}
        return done(0.5 if "2" in job.label else 0.9)

    played.outcomes = outcome
    ran(tmp_path, tuned(pictures), "--again", "DSD")
    assert played.jobs[-1].settings["methods"][0]["weight"] == 2.0
    text = (tmp_path / "results" / "tuning.md").read_text()
    assert '| DSD | `{"weight": 1.0}` | 1 + 1 failed | 90.00 |' in text


def test_a_method_all_of_whose_trials_diverged_is_left_out_alone(
    pictures, tmp_path, played, capsys
):
    """A trial is lost by one of its seeds: DSD's first and second each have one."""

    def outcome(job):
        if job.method == "DSD" and job.seed == 5 + ("2" in job.label):
            return {"status": DIVERGED, "reason": "loss nan in epoch 1"}
        return by_rate_and_weight(job)

    played.outcomes = outcome
    for told in (8, 0):
        code, whole = ran(tmp_path, tuned(pictures))
        assert code == 0 and [run["method"] for run in whole["runs"]] == ["none"] * 2
        assert len(played.jobs) == (10 if told else 0)
        said = capsys.readouterr().out
        assert said.count("DSD is left out: a run of each of its trials diverged") == 1
        played.jobs = []
    results = tmp_path / "results"
    text = (results / "tuning.md").read_text()
    assert text.endswith(
        "\n\n* DSD: a run of each of its trials diverged, and none could be chosen\n"
    )
    text = (results / "table.md").read_text()
    assert "* DSD: a run of each of its trials diverged" in text
    assert "not run yet" not in text


def test_every_method_may_be_left_out(pictures, tmp_path, played):
    played.outcomes = lambda job: {"status": DIVERGED, "reason": "loss nan in epoch 1"}
    code, whole = ran(tmp_path, tuned(pictures))
    assert code == 0 and whole["runs"] == []
    text = (tmp_path / "results" / "table.md").read_text()
    assert "No run has ended yet" in text


def test_only_tunes_and_runs_the_methods_it_is_given(pictures, tmp_path, played):
    ran(tmp_path, tuned(pictures), "--only", "DSD")
    assert {job.method for job in played.jobs} == {"DSD"} and len(played.jobs) == 6
    played.jobs = []
    ran(tmp_path, tuned(pictures))
    assert {job.method for job in played.jobs} == {"none"}


def test_tuning_goes_on_where_it_stopped(pictures, tmp_path, played):
    def outcome(job):
        if len(played.jobs) == 4:
            raise KeyboardInterrupt
        return by_rate_and_weight(job)

    played.outcomes = outcome
    with pytest.raises(SystemExit):
        ran(tmp_path, tuned(pictures))
    played.jobs, played.outcomes = [], by_rate_and_weight
    ran(tmp_path, tuned(pictures))
    assert played.jobs[0].label == "DSD, trial 2" and len(played.jobs) == 5 + 4


def test_a_trial_that_changed_is_refused(pictures, tmp_path, played):
    ran(tmp_path, tuned(pictures))
    changed = tuned(pictures)
    changed["methods"] = json.loads(json.dumps(METHODS))
    changed["methods"]["DSD"]["trials"][1]["weight"] = 3.0
    message = r"--again 'DSD, trial 2'. Received: .*weight \(was 2.0, now 3.0\)"
    with pytest.raises(ValueError, match=message):
        ran(tmp_path, changed)


def test_one_trial_can_be_run_again_alone(pictures, tmp_path, played):
    ran(tmp_path, tuned(pictures))
    changed = tuned(pictures)
    changed["methods"] = json.loads(json.dumps(METHODS))
    changed["methods"]["DSD"]["trials"][0]["weight"] = 0.5
    played.jobs = []
    ran(tmp_path, changed, "--again", "DSD, trial 1")
    assert [(job.label, job.seed) for job in played.jobs] == [
        ("DSD, trial 1", 5),
        ("DSD, trial 1", 6),
    ]


def data(pictures, tuning, **changes):
    return plan.data(recipe.parse({**tuned(pictures), **changes}), tuning=tuning)


def test_trials_see_no_image_that_evaluates(pictures):
    _, evaluation = training.load("embedding", data(pictures, tuning=False))
    train, validation = training.load("embedding", data(pictures, tuning=True))
    assert set(validation.class_names) == {"bars/10", "bars/18", "bars/26"}
    assert len(train.class_names) == 5
    assert not {*evaluation.ids} & {*train.ids, *validation.ids}
    assert not {*validation.ids} & {*train.ids}


def test_few_classes_may_train_and_the_others_measure_as_before(pictures):
    few = {"training_classes": ["bars/1*", "bars/[56]?"]}
    for tuning, names in (
        (False, {"bars/10", "bars/18", "bars/50", "bars/58", "bars/66"}),
        (True, {"bars/50", "bars/58", "bars/66"}),  # the others of these validate
    ):
        _, all_measured = training.load("embedding", data(pictures, tuning))
        train, measured = training.load("embedding", data(pictures, tuning, **few))
        assert {*train.class_names} == names
        assert measured.ids == all_measured.ids
    with pytest.raises(ValueError, match="`training_classes` must match.*'bars/9"):
        training.load("embedding", data(pictures, False, training_classes=["bars/9*"]))


def test_other_evaluation_images_change_nothing_of_the_tuning(
    pictures, tmp_path, played
):
    """Not what is trained, not what is measured, not what is chosen."""
    other = tmp_path / "pictures"
    shutil.copytree(pictures, other)
    rng = np.random.default_rng(0)
    for name in ("74", "82"):
        for path in (other / "bars" / name).iterdir():
            noise = rng.integers(0, 256, (24, 24)).astype(np.uint8)
            Image.fromarray(noise).save(path)
    found = []
    for folder in (pictures, other):
        made = recipe.parse(tuned(folder))
        data_of = plan.data(made, tuning=True)
        found.append(training.describe(made.task, data_of, made.batch))
    assert found[0] == found[1]
    whole = [
        training.describe(
            "embedding", data(folder, tuning=False), {"classes": 4, "per_class": 3}
        )
        for folder in (pictures, other)
    ]
    assert whole[0]["evaluation"] != whole[1]["evaluation"], "the test can fail"
