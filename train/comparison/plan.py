"""Which runs a recipe asks for, and everything that determines each."""

import copy
import dataclasses
import math

from train.comparison import specification

OPTIMIZER = ("learning_rate", "weight_decay")


@dataclasses.dataclass(frozen=True)
class Job:
    """One run: what a worker is given.

    Attributes:
        label: What the run is a repetition of: the method, and its trial if it is one.
        method: Name of the method.
        trial: Number of the trial, from 0; `None` in the grid.
        seed: Integer.
        settings: What `settings` returned.
        data: What `training.load` takes.
    """

    label: str
    method: str
    trial: int | None
    seed: int
    settings: dict
    data: dict


def settings(recipe, method, images, trial=None, budget=None):
    """Everything that determines the runs of a method, but for the seed.

    Args:
        recipe: `Recipe`.
        method: Name of one of its methods.
        images: What `training.describe` returned.
        trial: Dictionary of overrides; see `with_trial`.
        budget: Replaces that of recipe and method.

    Returns:
        Dictionary as JSON keeps it.
    """
    entry = with_trial(recipe.methods[method], trial or {}, method)
    loss, loss_options = recipe.loss, recipe.loss_options
    if entry["loss"] not in (None, loss):
        loss, loss_options = entry["loss"], {}  # Options of another loss mean nothing.
    budget = budget or entry["budget"] or recipe.budget
    an_epoch = images["steps_per_epoch"]
    epochs = budget.get("epochs") or math.ceil(budget["steps"] / an_epoch)
    return {
        "task": recipe.task,
        "data": {part: images[part]["fingerprint"] for part in images["parts"]},
        "image_size": recipe.image_size,
        "student": recipe.student,
        "loss": specification.resolved_loss(
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
        settings_of: Dictionary from methods to their settings.
        seeds: List of integers.
        data: See `Job`.

    Returns:
        List of `Job`.
    """
    return [
        Job(method, method, None, seed, settings, data)
        for seed in seeds
        for method, settings in settings_of.items()
    ]


def _merge(options, changes):
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(options.get(key), dict):
            _merge(options[key], value)
        else:
            options[key] = value
