"""Options chosen on a part of the training data, as many tries for all."""

import json

from train.comparison import plan
from train.comparison.record import BROKEN, DIVERGED, DONE
from train.comparison.statistics import estimate
from train.comparison.table import row
from train.comparison.tasks import TASKS

NOTE = """\
Every method had as many trials. They were trained on the training {apart} without the
validation {apart} and measured on the validation {apart}: the {measured} {apart} had
no part in it. **Bold** is the best mean {merit}, the first of equals: the comparison
uses it. {units}, with half the width of the 95 % t-interval over the seeds."""


LOST = "a run of each of its trials diverged, and none could be chosen"


def label(method, number):
    """What a trial is called; `number` is from 0."""
    return f"{method}, trial {number + 1}"


def settings(recipe, images):
    """From each trial's label to `(method, settings)`.

    Args:
        recipe: `Recipe` with tuning.
        images: What `training.describe` says of the data to tune on.
    """
    return {
        label(method, number): (
            method,
            plan.settings(recipe, method, images, trial, recipe.tuning["budget"]),
        )
        for method, entry in recipe.methods.items()
        for number, trial in enumerate(entry["trials"])
    }


def chosen(recipe, record):
    """The best trial of each method whose trials have all ended.

    A trial of which a run diverged is not chosen, and a method that has no other is
    left out: see `lost`.

    Args:
        recipe: `Recipe` with tuning.
        record: `Record` of the trials.

    Returns:
        Dictionary from methods to numbers of trials, from 0.
    """
    found = {}
    for method, means in _tried(recipe, record):
        there = [mean for mean in means if mean is not None]
        if there:
            found[method] = means.index(max(there))
    return found


def lost(recipe, record):
    """The methods whose trials have all ended, each with a run that diverged.

    Args:
        recipe: `Recipe` with tuning.
        record: `Record` of the trials.

    Returns:
        List of methods.
    """
    return [
        method
        for method, means in _tried(recipe, record)
        if all(mean is None for mean in means)
    ]


def table(recipe, record):
    """Markdown of all trials.

    Args:
        recipe: `Recipe` with tuning.
        record: `Record` of the trials.
    """
    task, best = TASKS[recipe.task], chosen(recipe, record)
    measures = task.measures
    merit = measures[task.merit].title
    words = {"apart": task.apart, "measured": task.measured, "units": task.units}
    lines = [f"# {recipe.name}: tuning", "", NOTE.format(merit=merit, **words), ""]
    part = task.said(recipe.tuning[task.validated_by])
    lines += [f"Validation {task.apart}: {part}.", ""]
    titles = [measure.title for measure in measures.values()]
    lines.append(row(["method", "trial", "seeds", *titles]))
    lines.append(row(["---", "---", "---:"] + ["---:"] * len(titles)))
    for method, entry in recipe.methods.items():
        for number, trial in enumerate(entry["trials"]):
            name = label(method, number)
            cells = [
                measure.text(estimate(record.figures(name, key).values()))
                for key, measure in measures.items()
            ]
            if best.get(method) == number:
                cells[0] = f"**{cells[0]}**"
            failed = len(record.ended(name, DIVERGED, BROKEN))
            count = str(len(record.ended(name, DONE)))
            count += f" + {failed} failed" if failed else ""
            said = f"`{json.dumps(trial)}`" if trial else "as it stands"
            lines.append(row([method, said, count, *cells]))
    left_out = [f"* {method}: {LOST}" for method in lost(recipe, record)]
    lines += ["", *left_out] if left_out else []
    return "\n".join(lines) + "\n"


def _tried(recipe, record):
    """Yields `(method, means)` of the methods whose trials have all ended."""
    for method, entry in recipe.methods.items():
        labels = [label(method, number) for number in range(len(entry["trials"]))]
        if all(_has_ended(recipe, record, name) for name in labels):
            yield method, [_mean(recipe, record, name) for name in labels]


def _has_ended(recipe, record, name):
    ended = {run["seed"] for run in record.ended(name, DONE, DIVERGED)}
    return ended >= {*recipe.tuning["seeds"]}


def _mean(recipe, record, name):
    """Mean figure of merit over the tuning seeds; `None` if one of them diverged."""
    values = record.figures(name, TASKS[recipe.task].merit)
    seeds = recipe.tuning["seeds"]
    if any(seed not in values for seed in seeds):
        return None
    return estimate(values[seed] for seed in seeds).mean
