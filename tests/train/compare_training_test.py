"""Runs that are really trained: repeatable, of one beginning, by code that is named."""

import re
import shutil

import numpy as np
import pytest

from tests.train.tiny_comparison import ran, taught, tiny
from train.comparison import plan, recipe, training
from train.comparison.record import DIVERGED


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


@pytest.mark.parametrize("views", [False, True])
def test_each_of_several_layers_varies_what_a_run_trains_on(pictures, views):
    def first_batch(*more):
        faults = dict.fromkeys(["blur", "noise", "occlusion", "crop", "shot_noise"], 0)
        spoilt = [{"class": "RandomDegradation", **faults, **one} for one in more]
        augment = [{"shift": 0.1}, *spoilt]
        job = jobs(pictures, augment=augment)[0]
        if not views:
            job.settings.pop("views")
        dataset = training._batches(job, training.load("embedding", job.data)[0])
        return np.array(next(iter(dataset))[0])

    plain = first_batch()
    # A layer that leaves all images alone, and one that darkens each of them.
    np.testing.assert_array_equal(first_batch({"share": 0.0}), plain)
    dark = first_batch({"share": 1.0, "darkness": 1.0})
    bright = plain.max(axis=(1, 2, 3)) > 0
    assert bright.any()
    assert (dark.max(axis=(1, 2, 3)) < plain.max(axis=(1, 2, 3)))[bright].all()
