"""Which runs a recipe asks for, and everything that determines each."""

import copy
import dataclasses
import math

from train.comparison import specification
from train.comparison.tasks import TASKS

TEACHER, TRUNK = "teacher", "trunk"
OPTIMIZER = ("learning_rate", "weight_decay")


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: what a worker is given.

    Attributes:
        label: What the run is a repetition of: a method, a trial of it, or `TEACHER`.
        method: Name of the method.
        seed: Integer.
        settings: What `settings` or `teacher_settings` returned.
        data: What `training.load` takes.
        keep: Path to save the student to, `None` to let it go.
        lessons: Folder of what is cached of the teacher, and a digest of its
            `weights`; `None` for what learns from no teacher.
        trunk: Path of the model whose trunk the student begins with, and a digest of
            its `weights`; `None` to begin by chance.
    """

    label: str
    method: str
    seed: int
    settings: dict
    data: dict
    keep: str | None = None
    lessons: dict | None = None
    trunk: dict | None = None


def data(recipe, path=None, tuning=False):
    """What `training.load` takes.

    Args:
        recipe: `Recipe`.
        path: Where the data of the recipe lie on this machine; `None` for there.
        tuning: Whether to measure on the validation part of the training.
    """
    task = TASKS[recipe.task]
    found = {
        "path": path or recipe.data,
        "image_size": recipe.image_size,
        task.measured_by: getattr(recipe, task.measured_by),
        task.validated_by: recipe.tuning[task.validated_by] if tuning else None,
    }
    if task.trained_by:
        found[task.trained_by] = getattr(recipe, task.trained_by)
    return found


def trunk_data(recipe):
    """The same of a recipe's trunk."""
    task = TASKS[recipe.task]
    return {
        "path": recipe.trunk["data"],
        "image_size": recipe.image_size,
        task.measured_by: recipe.trunk[task.measured_by],
        task.validated_by: None,
    }


def settings(recipe, method, images, trial=None, budget=None):
    """Everything that determines the runs of a method, but for the seed.

    Args:
        recipe: `Recipe`.
        method: Name of one of its methods.
        images: What `training.describe` returned; of a recipe with a trunk, also
            under `"trunk"` what it says of the data of that.
        trial: Dictionary of overrides; see `with_trial`.
        budget: Replaces that of recipe and method.

    Returns:
        Dictionary as JSON keeps it.

    Raises:
        ValueError: If the method needs a teacher and the recipe has none; if it learns
            from several of its layers; if a class, an option or a loss is unknown.
    """
    entry = with_trial(recipe.methods[method], trial or {}, method)
    budget = budget or entry["budget"] or recipe.budget
    found = _settings(recipe, images, recipe.student, entry, budget)
    found |= _trunk_settings(recipe, images, "student", recipe.student)
    if recipe.teacher is not None:
        # All learn from the same fixed views, whether from the teacher or not.
        count = recipe.teacher["views"] if recipe.augment is not None else 1
        found["views"] = {"count": count, "seed": recipe.teacher["seed"]}
    layers = specification.teacher_layers(found["methods"])
    if layers and recipe.teacher is None:
        raise ValueError(
            "A method that learns from a teacher needs the field `teacher`. "
            f"Received: {method!r}, and no teacher"
        )
    if len(layers) > 1:
        raise ValueError(
            "A method learns from one `teacher_layer`, or from the teacher's output: "
            "what is kept of the teacher for a method is one row an image. "
            f"Received: {method!r} with {', '.join(one or 'output' for one in layers)}"
        )
    if layers:
        found[TEACHER] = teacher_settings(recipe, images)
    return found


def teacher_settings(recipe, images):
    """`settings` of the teacher, which is trained as a student is."""
    entry = recipe.teacher
    student = {name: entry[name] for name in TASKS[recipe.task].student_fields}
    if entry["image_size"] not in (None, recipe.image_size):
        student["image_size"] = entry["image_size"]
    budget = entry["budget"] or recipe.budget
    found = _settings(recipe, images, student, entry, budget)
    return found | _trunk_settings(recipe, images, TEACHER, student)


def _trunk_settings(recipe, images, who, student):
    """What determines the trunk of the student or the teacher, if it has one."""
    entry = recipe.trunk
    if entry is None or who not in entry["of"]:
        return {}
    head = {name: entry[name] for name in TASKS[recipe.task].student_fields[1:]}
    budget = entry["budget"] or recipe.budget
    own = {"backbone": student["backbone"], **head}
    found = _settings(recipe, images[TRUNK], own, entry, budget)
    return {TRUNK: {**found, "path": entry["data"], "seed": entry["seed"]}}


def _settings(recipe, images, student, entry, budget):
    loss, loss_options = recipe.loss, recipe.loss_options
    if entry["loss"] not in (None, loss):
        loss, loss_options = entry["loss"], {}  # Options of another loss mean nothing.
    an_epoch = images["steps_per_epoch"]
    epochs = budget.get("epochs") or math.ceil(budget["steps"] / an_epoch)
    return {
        "task": recipe.task,
        "data": {part: images[part]["fingerprint"] for part in images["parts"]},
        "image_size": recipe.image_size,
        "student": student,
        "loss": TASKS[recipe.task].resolved_loss(
            loss, {**loss_options, **entry["loss_options"]}
        ),
        "epochs": epochs,
        "steps": epochs * an_epoch,
        "batch": recipe.batch,
        "optimizer": {**recipe.optimizer, **entry["optimizer"]},
        "augment": specification.resolved_augment(recipe.augment),
        "methods": [specification.resolved(spec) for spec in entry["methods"]],
    }


def with_trial(entry, trial, method):
    """A method of a recipe, changed by what a trial overrides.

    Args:
        entry: See `Recipe.methods`.
        trial: Dictionary. `loss_options`, `learning_rate` and `weight_decay` are what
            they say. A key that is the class of one of the methods holds changes of
            its options; any other key is an option of the only method. Objects, such
            as the `term` of `PAD`, are merged.
        method: Its name, for errors.

    Raises:
        ValueError: If it is not clear whose option a key is.
    """
    entry = copy.deepcopy(entry)
    specs = entry["methods"]
    classes = [spec["class"] for spec in specs]
    for key, value in trial.items():
        if key == "loss_options":
            entry["loss_options"].update(value)
        elif key in OPTIMIZER:
            entry["optimizer"][key] = value
        elif classes.count(key) == 1:
            _merge(specs[classes.index(key)], value)
        elif len(specs) == 1:
            _merge(specs[0], {key: value})
        else:
            raise ValueError(
                f"A trial of {method!r} changes loss_options, {', '.join(OPTIMIZER)} "
                f"or, under the name of its class, one of: {', '.join(classes)}. "
                f"Received: {key}"
            )
    return entry


def grid(settings_of, seeds, data):
    """Every method under every seed, seed by seed: an unfinished grid is paired.

    Args:
        settings_of: Dictionary from labels to `(method, settings)`.
        seeds: List of integers.
        data: See `Job`.

    Returns:
        List of `Job`.
    """
    return [
        Job(label, method, seed, settings, data)
        for seed in seeds
        for label, (method, settings) in settings_of.items()
    ]


def _merge(options, changes):
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(options.get(key), dict):
            _merge(options[key], value)
        else:
            options[key] = value
