"""A comparison of detectors: what it runs, in which order, and what it makes of it."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from train import compare_detectors
from train.detecting import plan, recipe, runs

RECIPE = {
    "name": "cells",
    "data": "cells",
    "detector": "retinanet",
    "arguments": {"image_size": [64, 96], "epochs": 2, "learning_rate": 0.01},
    "teacher": {"epochs": 3, "seed": 7},
    "student": {"epochs": 1},
    "seeds": [0, 1],
    "baseline": "alone",
    "methods": {
        "alone": {"method": None},
        "local": {"method": "global_knowledge", "options": {"global_weight": 0}},
        "all": {"method": "global_knowledge", "against": "local"},
    },
}
FROZEN = {"alone": {"method": None, "freeze_statistics": True}}
# AP by method and seed.
MEASURED = {
    ("teacher", 7): 0.5,
    ("student", 0): 0.2,
    ("student", 1): 0.3,
    ("alone", 0): 0.25,
    ("alone", 1): 0.35,
    ("local", 0): 0.26,
    ("local", 1): 0.38,
    ("all", 0): 0.30,
    ("all", 1): 0.41,
}


class Trainer:
    """Leaves the files of a run without training, and knows what it was asked for."""

    def __init__(self):
        self.asked, self.breaks = [], set()
        self.weights, self.lesson = "w", "t"

    def __call__(self, job):
        self.asked.append((job.label, job.seed))
        if (job.label, job.seed) in self.breaks:
            raise RuntimeError("train.detector ended with 1: no memory")
        taught = job.settings.get("method")
        began = "method" in job.settings
        report = dict.fromkeys(runs.FIGURES, 0.0) | {
            "ap": MEASURED[job.label, job.seed],
            "ap50": 0.0,
            "ap_small": None,
            "classes": {"red": {"ap": 0.5}},
        }
        metrics = {"last": {"evaluation": report}, "training": {"seconds": 2.0}}
        images = {"images": 3, "boxes": 9}
        said = {
            "data": {"train": images, "evaluation": images}
            | ({"start": f"{self.weights}{job.seed}"} if began else {})
            | ({"teacher": self.lesson} if taught else {}),
            "resolved": {"weights": 400 if job.label == "teacher" else 100},
            "versions": {"python": "3"},
        }
        job.folder.mkdir(parents=True, exist_ok=True)
        (job.folder / "recipe.json").write_text(json.dumps(said))
        (job.folder / "student.keras").write_bytes(b"weights")
        (job.folder / "metrics.json").write_text(json.dumps(metrics))


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """The program in an empty folder, with a recipe and a trainer that is quick."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells.json").write_text(json.dumps(RECIPE))
    made = Trainer()
    monkeypatch.setattr(runs, "_train", made)
    return made


def compare(*flags):
    return compare_detectors.main(["cells.json", *flags])


def table(tmp_path):
    return (tmp_path / "docs/results/cells/table.md").read_text()


def test_teacher_and_students_come_first_and_then_seed_by_seed(trainer):
    assert compare() == 0
    assert trainer.asked == [
        ("teacher", 7),
        ("student", 0),
        ("student", 1),
        *((method, seed) for seed in (0, 1) for method in RECIPE["methods"]),
    ]


def test_the_table_has_means_and_paired_differences(trainer, tmp_path):
    compare()
    text = table(tmp_path)
    # Two values 0.1 apart: half the interval is t(.975, 1) * .1 / 2 = 12.706 * .05.
    assert "| teacher | 1 | 50.00 |" in text
    assert "| alone | 2 | 30.00 ± 63.53 |" in text
    # .05 and .06 over the baseline; .04 and .03 over the other.
    assert "| all | 2 | 35.50 ± 69.88 | **+5.50 ± 6.35**" not in text
    assert "| all | 2 | 35.50 ± 69.88 | +5.50 ± 6.35 |" in text
    assert "| all | local | +3.50 ± 6.35 |" in text
    assert "25.0 % of the teacher's 400" in text
    assert "3 images, 9 boxes" in text
    assert (tmp_path / "docs/results/cells/picture.png").stat().st_size > 10_000


def test_the_same_command_goes_on_where_it_stopped(trainer, tmp_path):
    trainer.breaks = {("local", 1)}
    assert compare() == 1
    assert "local, seed 1: broken, RuntimeError: train.detector ended" in table(
        tmp_path
    )
    trainer.breaks, trainer.asked = set(), []
    assert compare() == 0
    assert trainer.asked == [("local", 1)]
    trainer.asked = []
    assert compare() == 0
    assert trainer.asked == []


def test_nothing_begins_with_what_is_not_there(trainer):
    trainer.breaks = {("student", 1)}
    assert compare() == 1
    assert ("alone", 0) not in trainer.asked


def test_what_is_asked_for_alone_brings_what_it_begins_with(trainer):
    compare("--only", "alone", "--seeds", "1")
    assert trainer.asked == [("student", 0), ("alone", 0)]


def test_forgotten_runs_are_trained_anew(trainer):
    compare()
    trainer.asked = []
    compare("--again", "all")
    assert trainer.asked == [("all", 0), ("all", 1)]


def test_runs_of_students_that_were_trained_anew_are_not_paired(trainer, tmp_path):
    compare("--only", "alone")
    trainer.weights = "other"
    with pytest.raises(ValueError, match="trained anew.*alone and local, seed 0"):
        compare()


def test_runs_of_another_teacher_are_not_compared(trainer):
    compare("--only", "local")
    trainer.lesson = "other"
    with pytest.raises(ValueError, match="The teacher was trained anew.*local and all"):
        compare()


def test_all_seeds_are_forgotten_whatever_is_run_again(trainer):
    compare()
    trainer.asked = []
    compare("--again", "all", "--seeds", "1")
    compare()
    assert trainer.asked == [("all", 0), ("all", 1)]


def test_what_a_worker_has_started_ends_with_it(tmp_path):
    note = tmp_path / "pid"
    begun = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid()))"
    program = (
        "import sys\nfrom train.detecting import runs\n"
        f"runs.call([sys.executable, '-c', {begun + '; time.sleep(60)'!r}], sys.stdout)"
    )
    worker = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    while not (note.exists() and note.read_text()):
        assert worker.poll() is None
        time.sleep(0.05)
    worker.terminate()
    assert worker.wait(20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_a_run_is_begun_with_the_flags_of_the_recipe(tmp_path):
    parsed = recipe.parse(RECIPE)
    job = plan.method(parsed, "here", tmp_path, "local", 1)
    said = " ".join(job.arguments).replace(str(tmp_path), "R")
    assert said == (
        "--data here --detector retinanet --role student --image-size 64 96 "
        "--epochs 2 --learning-rate 0.01 --seed 1 --out R/local-1 --start R/student-1 "
        "--teacher R/teacher-7 --method global_knowledge "
        "--method-options global_weight=0"
    )
    taught = plan.teacher(parsed, "here", tmp_path).arguments
    assert "--freeze-statistics" not in taught
    assert taught[taught.index("--role") + 1] == "teacher"
    assert taught[taught.index("--epochs") + 1] == "3"


def test_a_recipe_may_freeze_statistics(trainer, tmp_path):
    """It is a part of what a run is, and stands in the table."""
    frozen = {**RECIPE, "methods": FROZEN}
    job = plan.method(recipe.parse(frozen), "here", tmp_path, "alone", 1)
    said = " ".join(job.arguments)
    assert said.endswith("--start " + str(tmp_path / "student-1 --freeze-statistics"))
    started = plan.student(recipe.parse(frozen), "here", tmp_path, 1).arguments
    assert "--freeze-statistics" not in started
    compare()
    (tmp_path / "cells.json").write_text(json.dumps(frozen))
    with pytest.raises(ValueError, match="'alone'.*freeze_statistics .was not there"):
        compare()
    (tmp_path / "cells.json").write_text(json.dumps({**frozen, "name": "other"}))
    compare()
    text = (tmp_path / "docs/results/other/table.md").read_text()
    assert "--start student --freeze-statistics`" in text


@pytest.mark.parametrize(
    "path", sorted((ROOT / "train" / "recipes" / "detectors").glob("*.json"))
)
def test_the_recipes_of_the_project_can_be_run(path, tmp_path):
    from train import detector, methods

    found = recipe.read(path)
    assert found.name == path.stem
    for label in found.methods:
        job = plan.method(found, found.data, tmp_path, label, 0)
        args = detector._parser().parse_args(job.arguments)
        detector._check(args)
        if args.teacher is not None:
            options = methods.options(args.method_options)
            if args.method == "global_knowledge":  # What the program adds itself.
                pyramids = {"student_layer": "pyramid", "teacher_layer": "pyramid"}
                options |= {"num_classes": 3, "instances": "boxes", **pyramids}
            methods.make(args.method, options, teacher=True)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"seed": 1}, "Unknown field of `recipe`.*Received: seed"),
        ({"detector": "yolo"}, "one of retinanet, faster_rcnn.*detector='yolo'"),
        ({"arguments": {"rate": 1}}, "Unknown field of `arguments`.*Received: rate"),
        ({"arguments": {"image_size": 64}}, r"\[height, width\].*64"),
        ({"arguments": {"epochs": 0}}, "`arguments.epochs` must be.*epochs=0"),
        ({"teacher": {"seed": -1}}, "`teacher.seed` must be an integer, 0.*-1"),
        ({"baseline": "none"}, "`baseline` must be one of the methods.*'none'"),
        ({"methods": {}}, "object from names to methods"),
        (
            {"methods": {"alone": {"method": None, "options": {"a": 1}}}},
            "no method, and so no options.*{'a': 1}",
        ),
        (
            {"methods": {"alone": {"method": None, "freeze_statistics": "no"}}},
            "`methods.alone.freeze_statistics` must be true or false.*'no'",
        ),
        (
            {"methods": {"alone": {"method": None, "against": "x"}}},
            "`methods.alone.against` must be one of the methods.*'x'",
        ),
    ],
)
def test_a_recipe_that_is_none_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        recipe.parse({**RECIPE, **changes})


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--jobs", "0"], "--jobs must be at least 1. Received: 0"),
        (["--only", "x"], "--only takes one or more of: alone; local; all. Rec.*: x"),
        (["--again", "y"], "--again takes.*; teacher; student. Received: y"),
    ],
)
def test_flags_that_mean_nothing_are_refused(trainer, flags, message):
    with pytest.raises(ValueError, match=message):
        compare(*flags)
