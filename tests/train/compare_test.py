import json
import math
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import keras_distill as kd
from tests.conftest import ROOT
from tests.train.tiny_comparison import Played, done, ran, taught, tiny, written
from train import compare
from train.comparison import plan, program, recipe, specification, training
from train.comparison.record import BROKEN, DIVERGED, DONE, Record, alone

GRID = [(label, seed) for seed in (0, 1, 2) for label in ("none", "DSD")]


@pytest.fixture
def played(monkeypatch):
    return Played(monkeypatch)


def ended(whole):
    return [(run["label"], run["seed"]) for run in whole["runs"]]


def test_each_run_is_kept_as_it_ends_and_only_missing_ones_are_run(
    pictures, tmp_path, played
):
    def look(job):
        kept = Record(tmp_path / "results" / "runs.json").runs
        assert [(run["label"], run["seed"]) for run in kept] == GRID[: len(kept)]
        assert len(kept) == len(played.jobs) - 1
        return done(0.5)

    played.outcomes = look
    made = tiny(pictures)
    code, whole = ran(tmp_path, made, "--seeds", "1")
    assert code == 0 and played.runs == GRID[:2] == ended(whole)
    played.outcomes = lambda job: done(0.6)
    _, whole = ran(tmp_path, made, "--only", "DSD", "--seeds", "2")
    assert played.runs == [("DSD", 1)]
    _, whole = ran(tmp_path, made)
    assert played.runs == [("none", 1), ("none", 2), ("DSD", 2)]
    assert sorted(ended(whole)) == sorted(GRID)
    ran(tmp_path, made)
    assert played.runs == []
    assert [run["figures"]["recall_at_1"] for run in whole["runs"]][:3] == [0.5] * 2 + [
        0.6
    ]


def test_the_table_and_the_picture_are_rewritten_after_each_run(
    pictures, tmp_path, played
):
    seen = []

    def look(job):
        text = (tmp_path / "results" / "table.md").read_text()
        seen.append(text.count("not run yet"))
        assert ("No run has ended yet" in text) == (len(seen) == 1)
        return done(0.5)

    played.outcomes = look
    ran(tmp_path, tiny(pictures, seeds=[0, 1]))
    assert seen == [0, 2, 2, 1]
    results = tmp_path / "results"
    assert "not run yet" not in (results / "table.md").read_text()
    assert {path.name for path in results.iterdir()} == {
        "runs.json",
        "table.md",
        "picture.png",
    }


def test_another_recipe_is_refused_and_what_changed_is_said(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    before = (tmp_path / "results" / "runs.json").read_bytes()
    changed = tiny(pictures, optimizer={"learning_rate": 0.02, "weight_decay": 0.0})
    message = r"'none' has runs.*--again 'none'.*learning_rate \(was 0.01, now 0.02\)$"
    with pytest.raises(ValueError, match=message):
        ran(tmp_path, changed)
    changed = tiny(pictures)
    changed["methods"]["DSD"]["methods"][0]["pooling"] = "avg"
    message = r'methods\[0\].pooling \(was "avg\+max", now "avg"\)$'
    with pytest.raises(ValueError, match=message):
        ran(tmp_path, changed)
    assert (tmp_path / "results" / "runs.json").read_bytes() == before


class Grown(kd.methods.S2SD):
    """`S2SD` after it has got two arguments, the second of which must be given."""

    def __init__(self, *args, sharpness=1.5, needed, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize(
    "loss, augment, dsd, said",
    [
        ({}, {}, {"sharpness": 1.5}, None),
        ({}, {}, {"sharpness": 2.5}, r"sharpness \(was not there, now 2.5\)"),
        ({}, {}, {"sharpness": None}, r"sharpness \(was not there, now null\)"),
        ({}, {}, {"needed": 1}, r"needed \(was not there, now 1\)"),
        ({}, {}, {"unheard": 1}, r"unheard \(was not there, now 1\)"),
        ({"beta": 40.0}, {"scale": 0.1}, {}, None),
        ({"beta": 41.0}, {}, {}, r"loss.beta \(was not there, now 41.0\)"),
        ({}, {"scale": 0.2}, {}, r"augment.scale \(was not there, now 0.2\)"),
    ],
)
def test_an_argument_that_a_class_got_later_is_no_change_at_its_default(
    monkeypatch, tmp_path, loss, augment, dsd, said
):
    """Of methods, losses and the augmentation."""
    known = {**specification.known(), "S2SD": Grown}
    monkeypatch.setattr(specification, "known", lambda: known)

    def settings(loss, augment, dsd):
        return {
            "loss": {"class": "multi_similarity", "alpha": 2.0, **loss},
            "augment": {"class": "RandomAffine", "shift": 0.1, **augment},
            "methods": [{"class": "S2SD", "dims": [16], **dsd}],
        }

    record = Record(tmp_path / "runs.json")
    record.adopt("DSD", settings({}, {}, {}))
    record.add(plan.Job("DSD", "DSD", 0, {}, {}), done(0.5))
    before = record.runs[0]["fingerprint"]
    if said is None:
        record.adopt("DSD", settings(loss, augment, dsd))
    else:
        with pytest.raises(ValueError, match=said):
            record.adopt("DSD", settings(loss, augment, dsd))
    assert Record(record.path).runs[0]["fingerprint"] == before


def test_an_option_that_a_class_lost_is_a_change(tmp_path):
    record = Record(tmp_path / "runs.json")
    record.adopt("DSD", {"methods": [{"class": "S2SD", "dims": [16]}]})
    record.add(plan.Job("DSD", "DSD", 0, {}, {}), done(0.5))
    with pytest.raises(ValueError, match=r"dims \(was \[16\], now null\)"):
        record.adopt("DSD", {"methods": [{"class": "S2SD"}]})


def test_other_images_are_another_recipe(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    with pytest.raises(ValueError, match=r"data.evaluation \(was .*student.dim") as e:
        ran(
            tmp_path,
            tiny(
                pictures,
                eval_classes=["bars/7*", "bars/6*"],
                student={"backbone": "conv4", "dim": 5},
            ),
        )
    assert "data.training" in str(e.value) and "seed" not in str(e.value)


def test_a_recipe_may_grow(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    assert len(played.runs) == 6
    grown = tiny(pictures, seeds=[0, 1, 2, 7], about="More of it.")
    grown["methods"]["MSD"] = {"methods": [{"class": "S2SD", "dims": [8, 16]}]}
    ran(tmp_path, grown)
    assert len(played.runs) == 6


def test_runs_of_a_method_that_was_taken_out_are_still_shown(
    pictures, tmp_path, played
):
    ran(tmp_path, tiny(pictures))
    smaller = tiny(pictures)
    del smaller["methods"]["DSD"]
    ran(tmp_path, smaller)
    text = (tmp_path / "results" / "table.md").read_text()
    assert "| DSD | 3 |" in text and "* DSD: no longer in the recipe" in text


def test_again_forgets_the_runs_of_a_method(pictures, tmp_path, played):
    ran(tmp_path, tiny(pictures))
    played.jobs = []
    changed = tiny(pictures)
    changed["methods"]["DSD"]["methods"][0]["dims"] = [8]
    _, whole = ran(tmp_path, changed, "--again", "DSD", "--seeds", "2")
    assert played.runs == [("DSD", 0), ("DSD", 1)]
    assert whole["settings"]["DSD"]["methods"][0]["dims"] == [8]


def test_a_diverged_run_is_kept_told_of_and_not_run_again(
    pictures, tmp_path, played, capsys
):
    def outcome(job):
        if job.label == "DSD" and job.seed == 1:
            return {"status": DIVERGED, "reason": "loss nan in epoch 1", "machine": {}}
        return done(0.5)

    played.outcomes = outcome
    code, whole = ran(tmp_path, tiny(pictures))
    assert code == 0 and len(whole["runs"]) == 6
    text = (tmp_path / "results" / "table.md").read_text()
    assert "| DSD | 2 + 1 failed |" in text
    assert "* DSD, seed 1: diverged, loss nan in epoch 1" in text
    assert "DSD, seed 1: diverged, loss nan in epoch 1" in capsys.readouterr().out
    played.jobs = []
    ran(tmp_path, tiny(pictures))
    assert played.runs == []


def test_a_broken_run_is_kept_told_of_and_run_again(pictures, tmp_path, played, capsys):
    def outcome(job):
        if (job.label, job.seed) == ("none", 1):
            raise RuntimeError("no memory\nleft")
        return done(0.5)

    played.outcomes = outcome
    code, whole = ran(tmp_path, tiny(pictures))
    assert code == 1 and len(played.runs) == 6
    (run,) = [run for run in whole["runs"] if run["status"] == BROKEN]
    assert run["reason"] == "RuntimeError: no memory left"
    assert "| none | 2 + 1 failed |" in (tmp_path / "results/table.md").read_text()
    said = capsys.readouterr().err
    assert "1 runs broke" in said and "Traceback" in said
    played.outcomes = lambda job: done(0.5)
    code, whole = ran(tmp_path, tiny(pictures))
    assert code == 0 and played.runs == [("none", 1)]
    assert [run["status"] for run in whole["runs"]] == [DONE] * 6


def test_ctrl_c_keeps_what_has_ended_and_the_same_command_goes_on(
    pictures, tmp_path, played, capsys
):
    def outcome(job):
        if (job.label, job.seed) == ("none", 1):
            raise KeyboardInterrupt
        return done(0.5)

    played.outcomes = outcome
    with pytest.raises(SystemExit) as stop:
        ran(tmp_path, tiny(pictures))
    assert stop.value.code == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert played.runs == GRID[:3]
    assert "| none | 1 |" in (tmp_path / "results" / "table.md").read_text()
    played.outcomes = lambda job: done(0.5)
    ran(tmp_path, tiny(pictures))
    assert played.runs == GRID[2:]


def test_report_runs_nothing(pictures, tmp_path, played):
    made = tiny(pictures)
    ran(tmp_path, made)
    results = tmp_path / "results"
    before = {path.name: path.read_bytes() for path in results.iterdir()}
    (results / "table.md").unlink()
    (results / "picture.png").unlink()
    played.jobs = []
    ran(tmp_path, made, "--report", "--data", "where/there/is/nothing")
    assert played.runs == []
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before


def test_what_is_recorded_names_nothing_of_this_machine(pictures, tmp_path, played):
    made = tiny("the/data")
    _, whole = ran(tmp_path, made, "--data", str(pictures), "--seeds", "1")
    assert whole["command"] == "python -m train.compare tiny.json"
    assert whole["data"]["name"] == "the/data"
    said = (tmp_path / "results" / "runs.json").read_text()
    said += (tmp_path / "results" / "table.md").read_text()
    assert str(tmp_path) not in said and str(pictures) not in said


@pytest.mark.parametrize("relative", [True, False])
def test_a_recipe_of_the_project_is_named_from_its_root(monkeypatch, relative):
    monkeypatch.chdir(ROOT / "train")
    path = "recipes/glyphs_self_8.json"
    if not relative:
        path = str(ROOT / "train" / path)
    args = compare._parser().parse_args([path, "--out", "x", "--data", "y"])
    said = "python -m train.compare train/recipes/glyphs_self_8.json"
    assert program.command(args, "train.compare") == said


def test_report_mends_what_was_recorded_of_this_machine(pictures, tmp_path, played):
    made = tiny(pictures)
    _, before = ran(tmp_path, made, "--seeds", "1")
    path = tmp_path / "results" / "runs.json"
    old = {**before, "command": f"{before['command']} --out /home/me/results"}
    old["data"] = {**before["data"], "name": "/home/me/pictures"}
    path.write_text(json.dumps(old))
    _, after = ran(tmp_path, made, "--report")
    assert after == before
    assert "/home/me" not in (tmp_path / "results" / "table.md").read_text()


def test_report_of_nothing_records_nothing(pictures, tmp_path):
    made = written(tmp_path, tiny(pictures))
    assert compare.main([str(made), "--out", str(tmp_path / "out"), "--report"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["table.md"]


@pytest.mark.parametrize("flags", [[], ["--report"]])
def test_a_second_program_is_kept_out(pictures, tmp_path, played, flags):
    with alone(tmp_path / "results"):
        with pytest.raises(ValueError, match="Another train.compare is writing there"):
            compare.main(
                [
                    str(written(tmp_path, tiny(pictures))),
                    *("--out", str(tmp_path / "results"), *flags),
                ]
            )
    ran(tmp_path, tiny(pictures), "--seeds", "1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"learning_rate": 0.01', '"learning_rate": 0.02'),
        lambda text: text.replace('"runs"', '"rums"'),
    ],
)
def test_results_that_were_changed_by_hand_are_refused(
    pictures, tmp_path, played, damage
):
    ran(tmp_path, tiny(pictures), "--seeds", "1")
    path = tmp_path / "results" / "runs.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=r"as the program wrote them.*runs\.json"):
        ran(tmp_path, tiny(pictures))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--jobs", "0"], "--jobs must be at least 1. Received: 0"),
        (["--seeds", "0"], "--seeds must be at least 1. Received: 0"),
        (["--only", "MSD"], "one or more of: none; DSD. Received: MSD"),
        (["--again", "MSD"], "none; DSD; teacher. Received: MSD"),
        (["--data", "no/such/folder"], "must be an existing folder.*no/such/folder"),
    ],
)
def test_a_mistaken_flag_is_named(pictures, tmp_path, flags, message):
    with pytest.raises((ValueError, OSError), match=message):
        ran(tmp_path, tiny(pictures), *flags)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"batch": {"classes": 40, "per_class": 3}}, "more classes than there are"),
        ({"student": {"backbone": "conv5", "dim": 4}}, "backbone='conv5'"),
        ({"loss": "tripplet"}, "Unknown loss.*'tripplet'"),
        ({"loss_options": {"alfa": 1}}, "alpha.*Received: alfa"),
        ({"augment": {"shifts": 1}}, "RandomAffine.*Received: shifts"),
    ],
)
def test_what_cannot_be_trained_is_said_before_any_run(
    pictures, tmp_path, monkeypatch, changes, message
):
    played = Played(monkeypatch, build=True)
    with pytest.raises(ValueError, match=message):
        ran(tmp_path, tiny(pictures, **changes))
    assert played.runs == []


def test_a_missing_recipe_is_one_line_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "train.compare", str(tmp_path / "none.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: There is no recipe here")


def test_true_runs_of_a_seed_are_repeatable_and_a_lost_one_has_its_reason(
    finished_comparison, pictures, tmp_path
):
    folder, whole = finished_comparison
    runs = {run["label"]: run for run in whole["runs"]}
    assert runs["lost"]["status"] == DIVERGED
    assert "number" in runs["lost"]["reason"] or "loss" in runs["lost"]["reason"]
    for label in ("none", "L2"):
        figures = runs[label]["figures"]
        assert {"recall_at_1", "recall_at_8", "map_at_r"} <= set(figures)
        assert all(0 <= value <= 1 for value in figures.values())
        assert runs[label]["seconds"] > 0
    assert "s2sd_distillation" in runs["teacher"]["logs"]
    assert whole["settings"]["none"]["steps"] == 4
    assert whole["data"]["evaluation"]["images"] == 12
    shutil.copytree(folder / "results", tmp_path / "results")
    _, whole = ran(tmp_path, taught(pictures), "--again", "none")
    (again,) = [run for run in whole["runs"] if run["label"] == "none"]
    assert again["figures"] == runs["none"]["figures"]
    assert again["logs"]["loss"] == pytest.approx(runs["none"]["logs"]["loss"], 1e-4)


def test_a_true_run_says_which_code_made_it(finished_comparison):
    _, whole = finished_comparison
    codes = {run["machine"]["code"] for run in whole["runs"]}
    assert codes == {training._code()} and re.fullmatch("[0-9a-f]{12}", *codes)
    assert not any("code" in settings for settings in whole["settings"].values())


def test_code_is_told_apart_by_what_it_says_and_where(monkeypatch, tmp_path):
    def code(library, program, line_end="\n"):
        for folder, files in (("keras_distill", library), ("train", program)):
            for name, text in files.items():
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.replace("\n", line_end).encode())
        training._code.cache_clear()
        return training._code()

    init = "keras_distill/__init__.py"
    monkeypatch.setattr(training.kd, "__file__", str(tmp_path / init))
    inner = "train/comparison/training.py"
    monkeypatch.setattr(training, "__file__", str(tmp_path / inner))
    found = [
        code({"a.py": "x\n", "b/c.py": "y\n"}, {"comparison/d.py": "z\n"}),
        code({"a.py": "x2\n"}, {}),
        code({}, {"comparison/d.py": "z2\n"}),
        code({"b/e.py": "z2\n"}, {}),
    ]
    assert len({*found}) == 4
    same = code({"a.py": "x2\n", "notes.txt": "no code"}, {}, line_end="\r\n")
    training._code.cache_clear()
    assert same == found[-1]


METHODS = {
    "none": [],
    "S2SD": [{"class": "S2SD", "dims": [16]}],
    "OBD-SD": [{"class": "OBDSD"}],
    "PAD": [{"class": "PAD", "term": {"class": "FeatureL2"}, "warm_up": 2}],
}


def jobs(pictures, seed=0, **changes):
    """A job of each method, all of one seed."""
    methods = {name: {"methods": specs} for name, specs in METHODS.items()}
    teacher = {"backbone": "conv4", "dim": 6, "views": 2}
    made = recipe.parse(tiny(pictures, methods=methods, teacher=teacher, **changes))
    data = plan.data(made)
    images = training.describe(made.task, data, made.batch)
    return [
        plan.Job(name, name, seed, plan.settings(made, name, images), data)
        for name in METHODS
    ]


def first_weights(pictures, seed):
    for job in jobs(pictures, seed):
        distiller = training.build(job.settings, (16, 16, 1), 8, seed)
        yield distiller.student.get_weights()


def test_every_method_begins_with_the_student_of_the_seed(pictures):
    plain, *others = first_weights(pictures, 1)
    assert len(others) == 3
    for weights in others:
        for one, other in zip(plain, weights, strict=True):
            np.testing.assert_array_equal(one, other)
    other_seed = next(first_weights(pictures, 2))
    assert not np.array_equal(plain[0], other_seed[0])


@pytest.mark.parametrize("views", [False, True])
def test_every_method_trains_on_the_batches_of_the_seed(pictures, views):
    def batches(job):
        if not views:
            job.settings.pop("views")
        dataset = training._batches(job, training.load("embedding", job.data)[0])
        return [(np.array(x), np.array(y)) for _ in range(2) for x, y in dataset]

    plain, *others = map(batches, jobs(pictures, 1))
    for found in others:
        for (x, y), (images, labels) in zip(plain, found, strict=True):
            np.testing.assert_array_equal(x, images)
            np.testing.assert_array_equal(y, labels)
    (first, _), (later, _) = plain[0], batches(jobs(pictures, 2)[0])[0]
    assert not np.array_equal(first, later)


def test_the_results_are_json_without_nan(pictures, tmp_path, played):
    logs = {"loss": 1e-9, "looked_at": math.nan, "too_much": math.inf}
    played.outcomes = lambda job: done(0.5, logs=logs)
    code, _ = ran(tmp_path, tiny(pictures), "--seeds", "1")
    assert code == 0
    text = (tmp_path / "results" / "runs.json").read_text()
    lines = [line for line in text.splitlines() if '"fingerprint": "' in line]
    runs = [line for line in lines if line.startswith('    {"label"')]
    assert len(runs) == 2, "one line a run"
    whole = json.loads(text, parse_constant=pytest.fail)
    assert whole["name"] == "tiny"
    kept = {"loss": 1e-9, "looked_at": None, "too_much": None}
    assert [run["logs"] for run in whole["runs"]] == [kept] * 2
    played.jobs = []
    ran(tmp_path, tiny(pictures), "--seeds", "1")
    assert played.runs == [], "kept as finished"
