"""What a comparison is: a JSON file, read strictly.

A recipe says everything that determines its runs, so that a reader of the results
needs nothing else. What is misspelt is refused: a forgotten option would be compared
as if it had been set.
"""

import dataclasses

from train.comparison import fields
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
        augment: Arguments of a layer that varies images, of `layers.RandomAffine`
            where they name no `class`; a list of such, applied in order; or `None`.
        seeds: List of different integers >= 0.
        baseline: The method that the others are compared with.
        methods: From a name to a dictionary: `methods`, the list of what a
            `Distiller` gets, each with its `class`; `budget`, `loss`,
            `loss_options` and `optimizer`, where they are others than above;
            `trials`, a list of dictionaries, where there is tuning; and `against`,
            another method that it is compared with besides the baseline, or `None`.
        eval_classes: Of embedders: globs of the classes that evaluate, `None` for the
            data's own.
        training_classes: Of embedders: globs of the classes to train on, of those that
            neither evaluate nor validate; `None` for all of these.
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
    augment: dict | list | None
    seeds: list
    baseline: str
    methods: dict
    eval_classes: list | None = None
    training_classes: list | None = None
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
    return fields.read(path, parse)


def parse(raw):
    """The `Recipe` of a dictionary as JSON gives it; raises ValueError."""
    task = _task(raw)
    required = {field.name for field in dataclasses.fields(Recipe)}
    for other in TASKS.values():
        required -= {other.measured_by, other.trained_by}
    required.add(task.measured_by)
    optional = {"tuning", "teacher", "trunk", "about", "loss_options", *task.optional}
    required -= {*optional, "budget"}
    fields.known(raw, "recipe", required, {*optional, "steps", "epochs"})
    recipe = Recipe(
        name=fields.name(raw["name"]),
        task=raw["task"],
        data=fields.text(raw["data"], "data"),
        image_size=fields.count(raw["image_size"], "image_size"),
        student=_student(raw["student"], "student", task),
        loss=fields.text(raw["loss"], "loss"),
        loss_options=fields.options(raw.get("loss_options", {}), "loss_options"),
        budget=fields.budget(raw, "recipe"),
        batch=_batch(raw["batch"]),
        optimizer=fields.optimizer(raw["optimizer"], "optimizer", partial=False),
        augment=_augment(raw["augment"]),
        seeds=fields.seeds(raw["seeds"], "seeds"),
        baseline=fields.text(raw["baseline"], "baseline"),
        methods=_methods(raw["methods"]),
        tuning=_tuning(raw.get("tuning"), task),
        teacher=_teacher(raw.get("teacher"), task),
        trunk=_trunk(raw.get("trunk"), task),
        about=fields.text(raw.get("about", " "), "about").strip(),
        **_part(raw, task.measured_by),
        **(_part(raw, task.trained_by) if task.trained_by else {}),
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
    fields.method_name(name)
    fields.known(
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
        "budget": fields.budget(entry, where, needed=False),
        "optimizer": fields.optimizer(entry.get("optimizer", {}), f"{where}.optimizer"),
        "loss_options": fields.options(
            entry.get("loss_options", {}), f"{where}.loss_options"
        ),
        **{
            name: fields.text(entry[name], f"{where}.{name}") if name in entry else None
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
            fields.options(trial, f"{where}.trials, the {number}. of them,")
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
    fields.known(raw, "tuning", {task.validated_by, "seeds"}, {"steps", "epochs"})
    return {
        **_part(raw, task.validated_by, "tuning."),
        "seeds": fields.seeds(raw["seeds"], "tuning.seeds"),
        "budget": fields.budget(raw, "tuning", needed=False),
    }


def _part(raw, name, where=""):
    """A field that says which part of the data is for what."""
    check = fields.share if name.endswith("_share") else fields.globs
    return {name: check(raw.get(name), f"{where}{name}")}


def _teacher(raw, task):
    if raw is None:
        return None
    fields.known(
        raw,
        "teacher",
        {*task.student_fields},
        {"image_size", "loss", "loss_options", "methods", "steps", "epochs"}
        | {"optimizer", "seed", "views"},
    )
    student = {name: raw[name] for name in task.student_fields}
    return {
        **_student(student, "teacher", task),
        "image_size": _if_given(raw, "image_size", fields.count, "teacher"),
        **_beforehand(raw, "teacher"),
        "views": fields.count(raw.get("views", 8), "teacher.views"),
    }


def _trunk(raw, task):
    if raw is None:
        return None
    head = set(task.student_fields) - {"backbone"}
    part = {task.measured_by}
    fields.known(
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
        "data": fields.text(raw["data"], "trunk.data"),
        **{name: fields.count(raw[name], f"trunk.{name}") for name in head},
        **_part(raw, task.measured_by, "trunk."),
        **_beforehand(raw, "trunk"),
        "of": of,
    }


def _beforehand(raw, where):
    """How something is trained that is there before the methods are compared."""
    return {
        "loss": _if_given(raw, "loss", fields.text, where),
        "loss_options": fields.options(
            raw.get("loss_options", {}), f"{where}.loss_options"
        ),
        "methods": [_specification(s, where) for s in raw.get("methods", [])],
        "budget": fields.budget(raw, where, needed=False),
        "optimizer": fields.optimizer(raw.get("optimizer", {}), f"{where}.optimizer"),
        "seed": fields.count(raw.get("seed", 0), f"{where}.seed", least=0),
    }


def _if_given(raw, name, check, where):
    return check(raw[name], f"{where}.{name}") if name in raw else None


def _student(raw, where, task):
    fields.known(raw, where, {*task.student_fields})
    checks = {"backbone": fields.text, "dim": fields.count}
    return {
        name: checks[name](raw[name], f"{where}.{name}") for name in task.student_fields
    }


def _batch(raw):
    fields.known(raw, "batch", {"classes", "per_class"})
    return {name: fields.count(raw[name], f"batch.{name}", least=2) for name in raw}


def _augment(raw):
    if isinstance(raw, list):
        if not raw:
            raise ValueError(
                "`augment` must be an object of options, a list of one or more of "
                "them, or null. Received: augment=[]"
            )
        return [fields.options(one, f"augment[{n}]") for n, one in enumerate(raw)]
    return None if raw is None else fields.options(raw, "augment")
