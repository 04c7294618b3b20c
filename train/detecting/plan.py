"""Which runs of `train.detector` a recipe asks for, and how each is called."""

import dataclasses
import pathlib

TEACHER, STUDENT = "teacher", "student"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: what a worker is given.

    Attributes:
        label: `TEACHER`, `STUDENT` or the name of a method.
        seed: Integer.
        settings: Dictionary of what determines it but for the seed.
        folder: Path of the run.
        arguments: List of strings, those of `train.detector`.
    """

    label: str
    seed: int
    settings: dict
    folder: pathlib.Path
    arguments: list

    @property
    def method(self):
        """What the record calls it: one label a method here."""
        return self.label


def teacher(recipe, data, folder):
    """The job that trains the teacher."""
    own = {k: v for k, v in recipe.teacher.items() if k != "seed"}
    return _job(recipe, data, folder, TEACHER, recipe.teacher["seed"], own)


def student(recipe, data, folder, seed):
    """The job that trains a student from nothing."""
    return _job(recipe, data, folder, STUDENT, seed, recipe.student)


def method(recipe, data, folder, label, seed):
    """The job that goes on with the student of a seed by one of the methods."""
    entry = recipe.methods[label]
    start = folder / _name(STUDENT, seed)
    more, settings = ["--start", str(start)], {"method": entry["method"]}
    if entry["freeze_statistics"]:
        more.append("--freeze-statistics")
        settings["freeze_statistics"] = True
    if entry["method"] is not None:
        taught = folder / _name(TEACHER, recipe.teacher["seed"])
        more += ["--teacher", str(taught), "--method", entry["method"]]
        settings["options"] = entry["options"]
    if entry["options"]:
        pairs = [f"{name}={value}" for name, value in entry["options"].items()]
        more += ["--method-options", *pairs]
    return _job(recipe, data, folder, label, seed, {}, settings, more)


def folders(recipe, folder, label):
    """Where the runs of a label lie, of every seed."""
    seeds = [recipe.teacher["seed"]] if label == TEACHER else recipe.seeds
    return [folder / _name(label, seed) for seed in seeds]


def _job(recipe, data, folder, label, seed, own, settings=(), more=()):
    arguments = {**recipe.arguments, **own}
    role = TEACHER if label == TEACHER else STUDENT
    out = folder / _name(label, seed)
    flags = ["--data", data, "--detector", recipe.detector, "--role", role]
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        flags += [f"--{name.replace('_', '-')}", *map(str, values)]
    flags += ["--seed", str(seed), "--out", str(out), *more]
    settings = {
        "data": recipe.data,
        "detector": recipe.detector,
        "arguments": arguments,
        **dict(settings),
    }
    return Job(label, seed, settings, out, flags)


def _name(label, seed):
    """A folder's name: a method's has signs that a shell would read."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in label)
    return f"{plain}-{seed}"
