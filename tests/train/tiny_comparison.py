"""A recipe so small that a comparison of it takes seconds, and runs that take none."""

import json

from train import compare
from train.comparison.record import DONE

MACHINE = {"keras_distill": "1", "keras": "3", "tensorflow": "2", "numpy": "2"}
MACHINE |= {"python": "3", "device": "a machine", "threads": 1}


def tiny(pictures, **changes):
    """A recipe over the bars of `conftest.pictures`, as JSON has it."""
    return {
        "name": "tiny",
        "task": "embedding",
        "data": str(pictures),
        "eval_classes": ["bars/7*", "bars/8*"],
        "image_size": 16,
        "student": {"backbone": "conv4", "dim": 4},
        "loss": "multi_similarity",
        "steps": 6,  # of 4 an epoch: two epochs
        "batch": {"classes": 4, "per_class": 3},
        "optimizer": {"learning_rate": 0.01, "weight_decay": 0.0},
        "augment": {"shift": 0.1},
        "seeds": [0, 1, 2],
        "baseline": "none",
        "methods": {
            "none": {"methods": []},
            "DSD": {"methods": [{"class": "S2SD", "dims": [16]}]},
        },
        **changes,
    }


TAUGHT = {
    "none": {"methods": []},
    "L2": {"methods": [{"class": "FeatureL2", "weight": 8.0}]},
}
TEACHER = {
    "backbone": "conv4",
    "dim": 6,
    "views": 2,
    "image_size": 20,
    "methods": [{"class": "S2SD", "dims": [8]}],
}


def taught(pictures, **changes):
    """The same, with a method that learns from a teacher."""
    changes = {"methods": TAUGHT, "teacher": TEACHER, "seeds": [0], **changes}
    return tiny(pictures, steps=4, **changes)


def classifiers(pictures, **changes):
    """A recipe that trains classifiers, two of them from a teacher."""
    pooled = {"student_layer": "pooled", "teacher_layer": "pooled"}
    methods = {
        "none": {"methods": []},
        "KD": {"methods": [{"class": "SoftTargets"}]},
        "L2": {"methods": [{"class": "FeatureL2", **pooled}]},
    }
    made = tiny(pictures, steps=5, task="classification", loss="cross_entropy")
    del made["eval_classes"]
    return {
        **made,
        "test_share": 0.3,
        "student": {"backbone": "conv4_4"},
        "teacher": {"backbone": "conv4_6", "views": 2, "image_size": 20},
        "methods": methods,
        "seeds": [0],
        **changes,
    }


def written(folder, recipe):
    """The path of the recipe, written into a folder."""
    path = folder / f"{recipe['name']}.json"
    path.write_text(json.dumps(recipe))
    return path


def done(recall, **more):
    """The outcome of a run."""
    figures = {"recall_at_1": recall, "map_at_r": recall / 2}
    return {
        "status": DONE,
        "figures": figures,
        "seconds": 10.0,
        "logs": {"loss": 0.5},
        "parameters": 1000,
        "machine": MACHINE,
        **more,
    }


class Played:
    """Stands in for `training.run`: returns what it is told, and remembers the jobs.

    Args:
        outcomes: Function of a job.
        build: Whether students are built, to see whether they can be.
    """

    def __init__(
        self, monkeypatch, outcomes=lambda job: done(0.5 + job.seed / 10), build=False
    ):
        self.jobs = []
        self.outcomes = outcomes
        monkeypatch.setattr("train.comparison.training.run", self)
        if not build:
            monkeypatch.setattr("train.comparison.training.build", lambda *_: None)

    def __call__(self, job):
        self.jobs.append(job)
        return self.outcomes(job)

    @property
    def runs(self):
        """`(label, seed)` of each job since this was asked for last."""
        jobs, self.jobs = self.jobs, []
        return [(job.label, job.seed) for job in jobs]


def ran(folder, recipe, *flags):
    """Calls the program; returns its exit code and `runs.json`."""
    out = folder / "results"
    path = written(folder, recipe)
    code = compare.main([str(path), "--out", str(out), *flags])
    return code, json.loads((out / "runs.json").read_text())
