"""What a comparison is: a JSON file, read strictly.

A recipe says everything that determines its runs, so that a reader of the results
needs nothing else. What is misspelt is refused: a forgotten option would be compared
as if it had been set.
"""

import dataclasses
import json
import math
import pathlib
import re

from train.comparison.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A comparison of methods.

    Attributes:
        name: String of letters, digits, `_` and `-`: names the folder of results.
        task: One of `TASKS`.
        data: `"glyphs"` or a folder in which a class is the folder that holds the
            image, relative to where the program is called; of embedders also one of
            the `tfds:` names of `keras_distill.data.load`.
        image_size: Pixels.
        student: `{"backbone", "dim"}`; of a classifier, without `dim`.
        loss, loss_options: What `keras_distill.losses.get` takes; of a classifier,
            `"cross_entropy"`.
        budget: `{"steps": n}` or `{"epochs": n}`.
        batch: `{"classes", "per_class"}`.
        optimizer: `{"learning_rate", "weight_decay"}`.
        augment: Arguments of `layers.RandomAffine`, or `None`.
        seeds: List of different integers >= 0.
        baseline: The method that the others are compared with.
        methods: From a name to a dictionary: `methods`, the list of what a
            `Distiller` gets, each with its `class`; `budget`, `loss`,
            `loss_options` and `optimizer`, where they are others than above;
            `trials`, a list of dictionaries, where there is tuning; and `against`,
            another method that it is compared with besides the baseline, or `None`.
        eval_classes: Of embedders: globs of the classes that evaluate, `None` for the
            data's own.
        test_share: Of classifiers: the part of each class that tests.
        tuning: `None`, or `{"validation_classes", "seeds", "budget"}`; of classifiers
            `validation_share`, of the training images.
        teacher: `None`, or a dictionary: what `student` holds, and `image_size`, the
            pixels that it enlarges the student's images to; `loss`, `loss_options`,
            `budget`, `optimizer` and `methods`, as of a method; `seed`; and `views`,
            the augmentations of each image that it is asked about.
        trunk: `None`, or what students begin with instead of chance: a dictionary of
            the `data` that it is trained on beforehand (and `eval_classes` or
            `test_share` of these), `dim` of an embedder; `loss`, `loss_options`,
            `budget`, `optimizer` and `methods`, as of a method; `seed`; and `of`, which
            of `"student"` and `"teacher"` begin with one, each of its own backbone.
        about: A sentence for the table.
    """

    name: str
    task: str
    data: str
    image_size: int
    student: dict
    loss: str
    loss_options: dict
    budget: dict
    batch: dict
    optimizer: dict
    augment: dict | None
    seeds: list
    baseline: str
    methods: dict
    eval_classes: list | None = None
    test_share: float | None = None
    tuning: dict | None = None
    teacher: dict | None = None
    trunk: dict | None = None
    about: str = ""


def read(path):
    """The `Recipe` in a JSON file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a recipe; the message says what was expected.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no recipe here. Received: {path}")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_object)
        return parse(raw)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse(raw):
    """The `Recipe` of a dictionary as JSON gives it; raises ValueError."""
    task = _task(raw)
    required = {field.name for field in dataclasses.fields(Recipe)}
    required -= {other.measured_by for other in TASKS.values()}
    required.add(task.measured_by)
    optional = {"tuning", "teacher", "trunk", "about", "loss_options", *task.optional}
    required -= {*optional, "budget"}
    _fields(raw, "recipe", required, {*optional, "steps", "epochs"})
    name = _text(raw["name"], "name")
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(
            "`name` names a folder: letters, digits, _ and - are allowed. "
            f"Received: name={name!r}"
        )
    recipe = Recipe(
        name=name,
        task=raw["task"],
        data=_text(raw["data"], "data"),
        image_size=_count(raw["image_size"], "image_size"),
        student=_student(raw["student"], "student", task),
        loss=_text(raw["loss"], "loss"),
        loss_options=_options(raw.get("loss_options", {}), "loss_options"),
        budget=_budget(raw, "recipe"),
        batch=_batch(raw["batch"]),
        optimizer=_optimizer(raw["optimizer"], "optimizer", partial=False),
        augment=_augment(raw["augment"]),
        seeds=_seeds(raw["seeds"], "seeds"),
        baseline=_text(raw["baseline"], "baseline"),
        methods=_methods(raw["methods"]),
        tuning=_tuning(raw.get("tuning"), task),
        teacher=_teacher(raw.get("teacher"), task),
        trunk=_trunk(raw.get("trunk"), task),
        about=_text(raw.get("about", " "), "about").strip(),
        **_part(raw, task.measured_by),
    )
    if recipe.baseline not in recipe.methods:
        raise ValueError(
            f"`baseline` must be one of the methods: {', '.join(recipe.methods)}. "
            f"Received: baseline={recipe.baseline!r}"
        )
    _check_trials(recipe)
    _check_against(recipe)
    return recipe


def _task(raw):
    name = raw.get("task") if isinstance(raw, dict) else None
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(
            f"`task` must be one of {', '.join(TASKS)}. Received: task={name!r}"
        )
    return TASKS[name]


def _methods(raw):
    if not isinstance(raw, dict) or not raw:
        raise ValueError(
            "`methods` must be an object from names to methods. "
            f"Received: methods={raw!r}"
        )
    return {name: _method(name, entry) for name, entry in raw.items()}


def _method(name, entry):
    where = f"methods.{name}"
    if not re.fullmatch(r"[\w(][\w ()+.=-]*", name) or name == "teacher":
        raise ValueError(
            "A method is named by a word or two of letters, digits and ()+.=- (other "
            f"signs mean something in the table), and not 'teacher'. Received: {name!r}"
        )
    _fields(
        entry,
        where,
        {"methods"},
        {"loss", "loss_options", "steps", "epochs", "optimizer", "trials", "against"},
    )
    if not isinstance(entry["methods"], list):
        raise ValueError(
            f"`{where}.methods` must be a list, [] for plain training. "
            f"Received: {entry['methods']!r}"
        )
    found = {
        "methods": [_specification(spec, where) for spec in entry["methods"]],
        "budget": _budget(entry, where, needed=False),
        "optimizer": _optimizer(entry.get("optimizer", {}), f"{where}.optimizer"),
        "loss_options": _options(
            entry.get("loss_options", {}), f"{where}.loss_options"
        ),
        **{
            name: _text(entry[name], f"{where}.{name}") if name in entry else None
            for name in ("loss", "against")
        },
    }
    if "trials" in entry:
        trials = entry["trials"]
        if not isinstance(trials, list) or not trials:
            raise ValueError(
                f"`{where}.trials` must be a list of one or more. Received: {trials!r}"
            )
        for number, trial in enumerate(trials, 1):
            _options(trial, f"{where}.trials, the {number}. of them,")
        found["trials"] = trials
    return found


def _specification(spec, where):
    if not isinstance(spec, dict) or not isinstance(spec.get("class"), str):
        raise ValueError(
            f'Each of `{where}.methods` must be an object with its "class". '
            f"Received: {spec!r}"
        )
    return spec


def _check_trials(recipe):
    counts = {
        name: len(entry.get("trials", ())) for name, entry in recipe.methods.items()
    }
    said = ", ".join(f"{name} {count}" for name, count in counts.items())
    if recipe.tuning is None and any(counts.values()):
        raise ValueError(
            "Trials are chosen from by `tuning`, with its validation classes. "
            f"Received: no tuning, and trials: {said}"
        )
    if recipe.tuning is not None and (
        len({*counts.values()}) > 1 or 0 in {*counts.values()}
    ):
        raise ValueError(
            "Every method, the baseline included, must have as many trials as the "
            "others: what is tuned more wins for that alone ({} is the method as it "
            f"stands). Received: trials: {said}"
        )


def _check_against(recipe):
    for name, entry in recipe.methods.items():
        others = [one for one in recipe.methods if one not in (name, recipe.baseline)]
        if entry["against"] not in (None, *others):
            raise ValueError(
                f"`methods.{name}.against` must be another method than itself and the "
                "baseline, with which all are compared. "
                f"Received: against={entry['against']!r}"
            )


def _tuning(raw, task):
    if raw is None:
        return None
    _fields(raw, "tuning", {task.validated_by, "seeds"}, {"steps", "epochs"})
    return {
        **_part(raw, task.validated_by, "tuning."),
        "seeds": _seeds(raw["seeds"], "tuning.seeds"),
        "budget": _budget(raw, "tuning", needed=False),
    }


def _part(raw, name, where=""):
    """The field that says which part of the data is measured on."""
    check = _share if name.endswith("_share") else _globs
    return {name: check(raw.get(name), f"{where}{name}")}


def _teacher(raw, task):
    if raw is None:
        return None
    _fields(
        raw,
        "teacher",
        {*task.student_fields},
        {"image_size", "loss", "loss_options", "methods", "steps", "epochs"}
        | {"optimizer", "seed", "views"},
    )
    student = {name: raw[name] for name in task.student_fields}
    return {
        **_student(student, "teacher", task),
        "image_size": _if_given(raw, "image_size", _count, "teacher"),
        **_beforehand(raw, "teacher"),
        "views": _count(raw.get("views", 8), "teacher.views"),
    }


def _trunk(raw, task):
    if raw is None:
        return None
    head = set(task.student_fields) - {"backbone"}
    part = {task.measured_by}
    _fields(
        raw,
        "trunk",
        {"data", *head, *(part - {*task.optional})},
        {"of", "loss", "loss_options", "methods", "steps", "epochs"}
        | {"optimizer", "seed", *part},
    )
    of = raw.get("of", ["student"])
    if not isinstance(of, list) or not of or not {*of} <= {"student", "teacher"}:
        raise ValueError(
            "`trunk.of` must be a list of 'student', 'teacher' or both. "
            f"Received: trunk.of={of!r}"
        )
    return {
        "data": _text(raw["data"], "trunk.data"),
        **{name: _count(raw[name], f"trunk.{name}") for name in head},
        **_part(raw, task.measured_by, "trunk."),
        **_beforehand(raw, "trunk"),
        "of": of,
    }


def _beforehand(raw, where):
    """How something is trained that is there before the methods are compared."""
    return {
        "loss": _if_given(raw, "loss", _text, where),
        "loss_options": _options(raw.get("loss_options", {}), f"{where}.loss_options"),
        "methods": [_specification(s, where) for s in raw.get("methods", [])],
        "budget": _budget(raw, where, needed=False),
        "optimizer": _optimizer(raw.get("optimizer", {}), f"{where}.optimizer"),
        "seed": _count(raw.get("seed", 0), f"{where}.seed", least=0),
    }


def _if_given(raw, name, check, where):
    return check(raw[name], f"{where}.{name}") if name in raw else None


def _object(pairs):
    """A JSON object in which no key comes twice: the first would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"Keys must differ. Received twice: {', '.join(twice)}")
    return found


def _fields(raw, where, required, optional=()):
    if not isinstance(raw, dict):
        raise ValueError(f"`{where}` must be an object. Received: {where}={raw!r}")
    known = sorted({*required, *optional})
    unknown = [name for name in raw if name not in known]
    if unknown:
        raise ValueError(
            f"Unknown field of `{where}`. Expected some of {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    missing = sorted(name for name in required if name not in raw)
    if missing:
        raise ValueError(f"`{where}` lacks {', '.join(missing)}. Received: {[*raw]}")


def _student(raw, where, task):
    _fields(raw, where, {*task.student_fields})
    checks = {"backbone": _text, "dim": _count}
    return {
        name: checks[name](raw[name], f"{where}.{name}") for name in task.student_fields
    }


def _batch(raw):
    _fields(raw, "batch", {"classes", "per_class"})
    return {name: _count(raw[name], f"batch.{name}", least=2) for name in raw}


def _optimizer(raw, where, partial=True):
    names = {"learning_rate", "weight_decay"}
    _fields(raw, where, set() if partial else names, names)
    for name, value in raw.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        least = 0 if name == "weight_decay" else math.ulp(0.0)
        if not number or not least <= value < math.inf:
            kind = "0 or more" if name == "weight_decay" else "positive"
            raise ValueError(
                f"`{where}.{name}` must be a number, {kind}. Received: {name}={value!r}"
            )
    return {name: float(value) for name, value in raw.items()}


def _budget(raw, where, needed=True):
    given = [name for name in ("steps", "epochs") if name in raw]
    if len(given) > 1 or (needed and not given):
        raise ValueError(
            f"`{where}` must have either steps or epochs. "
            f"Received: {' and '.join(given) or 'neither'}"
        )
    return {name: _count(raw[name], f"{where}.{name}") for name in given} or None


def _seeds(raw, where):
    if not isinstance(raw, list) or not raw or len({*map(repr, raw)}) < len(raw):
        raise ValueError(
            f"`{where}` must be a list of different integers. Received: {where}={raw!r}"
        )
    return [_count(seed, where, least=0) for seed in raw]


def _globs(raw, where):
    if raw is None:
        return None
    if not isinstance(raw, list) or not raw or not all(isinstance(g, str) for g in raw):
        raise ValueError(
            f"`{where}` must be a list of globs over class names. "
            f"Received: {where}={raw!r}"
        )
    return raw


def _share(raw, where):
    number = isinstance(raw, int | float) and not isinstance(raw, bool)
    if not number or not 0 < raw < 1:
        raise ValueError(
            f"`{where}` must be a number between 0 and 1. Received: {where}={raw!r}"
        )
    return raw


def _augment(raw):
    return None if raw is None else _options(raw, "augment")


def _options(raw, where):
    if not isinstance(raw, dict):
        raise ValueError(
            f"`{where}` must be an object of options. Received: {where}={raw!r}"
        )
    return raw


def _text(raw, where):
    if not isinstance(raw, str) or not raw:
        raise ValueError(f"`{where}` must be a string. Received: {where}={raw!r}")
    return raw


def _count(raw, where, least=1):
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < least:
        raise ValueError(
            f"`{where}` must be an integer, {least} or more. Received: {where}={raw!r}"
        )
    return raw
