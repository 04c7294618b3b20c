"""Runs are kept as they end, whatever ends them, and the same command goes on."""

import json
import math
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.train.tiny_comparison import Played, done, ran, tiny, written
from train import compare
from train.comparison import program
from train.comparison.record import BROKEN, DIVERGED, DONE, Record, alone

GRID = [(label, seed) for seed in (0, 1, 2) for label in ("none", "DSD")]


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
        ({"augment": {"class": "Blur"}}, "RandomDegradation.*Received: class='Blur'"),
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
