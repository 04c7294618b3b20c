"""The results as a page of Markdown."""

import json

from train.comparison.plan import TEACHER
from train.comparison.record import BROKEN, DIVERGED, DONE
from train.comparison.statistics import differences, estimate

MEASURES = {"recall_at_1": "Recall@1", "map_at_r": "MAP@R"}

NOTE = """\
Per cent: mean over the seeds and half the width of its 95 % t-interval. A difference is
paired: the same seed gives every method the same initial student and the same batches.
**Bold** where its interval leaves 0 out; intervals are not widened for the number of
methods. The student of the last epoch is measured; nothing was chosen on the evaluation
classes. Seconds are those of the training steps, the first of which trace the graph."""


def table(recipe, record):
    """Markdown of all runs that have ended.

    Args:
        recipe: `Recipe`.
        record: `Record`.

    Returns:
        String.
    """
    lines = [f"# {recipe.name}", ""]
    if recipe.about:
        lines += [recipe.about, ""]
    labels = shown(recipe, record)
    if not labels:
        return "\n".join([*lines, "No run has ended yet.", ""])
    lines += ["```sh", record.head["command"], "```", ""]
    lines += _rows(recipe, record, labels)
    lines += ["", NOTE, ""]
    unfinished = list(_unfinished(recipe, record))
    lines += [*unfinished, ""] if unfinished else []
    lines += _conditions(recipe, record, labels)
    return "\n".join(lines) + "\n"


def shown(recipe, record):
    """Methods that have runs: those of the recipe, then those it no longer names."""
    there = dict.fromkeys(run["method"] for run in record.runs)
    return [
        name
        for name in {**recipe.methods, **there}
        if name in there and name != TEACHER
    ]


def _rows(recipe, record, labels):
    budgets = {record.settings[label]["steps"] for label in labels}
    taught = record.ended(TEACHER, DONE)
    headings = ["method", "runs"]
    headings += ["steps"] if len(budgets) > 1 else []
    for name in MEASURES.values():
        headings += [name, f"against {recipe.baseline}"]
    headings += ["of the teacher's Recall@1"] if taught else []
    yield row([*headings, "training"])
    yield row(["---"] + ["---:"] * len(headings))
    for label in [*([TEACHER] if taught else []), *labels]:
        cells = [label, _count(record, label)]
        if len(budgets) > 1:
            cells.append(f"{record.settings[label]['steps']:,}")
        for name in MEASURES:
            values = record.figures(label, name)
            base = record.figures(recipe.baseline, name)
            cells.append(percent(estimate(values.values())))
            gain = estimate(differences(values, base).values())
            plain = label in (recipe.baseline, TEACHER)
            cells.append("" if plain else _gain(gain, len(values)))
        if taught:
            cells.append("" if label == TEACHER else _kept(record, label))
        seconds = estimate(run["seconds"] for run in record.ended(label, DONE))
        cells.append("" if seconds is None else f"{seconds.mean:.0f} s")
        yield row(cells)


def _kept(record, label):
    """The mean's share of the teacher's Recall@1."""
    value = estimate(record.figures(label, "recall_at_1").values())
    (teacher,) = record.figures(TEACHER, "recall_at_1").values()
    return "" if value is None or not teacher else f"{100 * value.mean / teacher:.1f} %"


def _count(record, label):
    done = len(record.ended(label, DONE))
    failed = len(record.ended(label, DIVERGED, BROKEN))
    return f"{done} + {failed} failed" if failed else str(done)


def percent(value):
    """An `Estimate` of a share, `None` for nothing, as `83.17 ± 0.42`."""
    if value is None:
        return ""
    half = "" if value.half is None else f" ± {100 * value.half:.2f}"
    return f"{100 * value.mean:.2f}{half}"


def _gain(value, runs):
    if value is None:
        return ""
    half = "" if value.half is None else f" ± {100 * value.half:.2f}"
    text = f"{100 * value.mean:+.2f}{half}"
    text = f"**{text}**" if value.decided else text
    return text if value.count == runs else f"{text} ({value.count} seeds)"


def _unfinished(recipe, record):
    for run in record.runs:
        if run["status"] != DONE:
            which = f"{run['label']}, seed {run['seed']}"
            yield f"* {which}: {run['status']}, {run['reason']}"
    for method in recipe.methods:
        ended = {run["seed"] for run in record.ended(method, DONE, DIVERGED, BROKEN)}
        seeds = [str(seed) for seed in recipe.seeds if seed not in ended]
        if seeds:
            which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"
            yield f"* {method}, {which}: not run yet"
    for method in shown(recipe, record):
        if method not in recipe.methods:
            yield f"* {method}: no longer in the recipe"


def _conditions(recipe, record, labels):
    """Under which conditions these figures hold."""
    images = record.head["data"]
    settings = record.settings[labels[0]]
    globs = recipe.eval_classes
    which = f" ({', '.join(f'`{glob}`' for glob in globs)})" if globs else ""
    runs = [run for label in labels for run in record.ended(label, DONE)]
    student, batch = settings["student"], settings["batch"]
    optimizer = settings["optimizer"]
    shape = "x".join(str(n) for n in images["image_shape"])
    yield from ["| | |", "| --- | --- |"]
    yield row(["data", f"`{recipe.data}`, {shape}"])
    yield row(["trained on", _images(images["training"])])
    yield row(["measured on", _images(images["evaluation"]) + which])
    sizes = {f"{run['parameters']:,}" for run in runs}
    size = f", {' or '.join(sorted(sizes))} parameters" if sizes else ""
    yield row(["student", f"{student['backbone']}, {student['dim']} numbers{size}"])
    yield from _teacher(record, runs)
    yield row(
        [
            "budget",
            f"{settings['steps']:,} steps ({settings['epochs']} epochs) of "
            f"{batch['classes']} classes x {batch['per_class']} images",
        ]
    )
    yield row(
        [
            "optimiser",
            f"AdamW, rate {optimizer['learning_rate']:g}, "
            f"weight decay {optimizer['weight_decay']:g}",
        ]
    )
    yield row(["loss", _call(settings["loss"])])
    augment = "none" if settings["augment"] is None else _call(settings["augment"])
    if "views" in settings:
        augment += f", {settings['views']['count']} fixed views of each image"
    yield row(["augmentation", augment])
    if recipe.tuning is not None:
        trials = len(recipe.methods[recipe.baseline]["trials"])
        yield row(["tuned", f"best of {trials} trials of each method: `tuning.md`"])
    for machine in dict.fromkeys(_machine(run["machine"]) for run in runs):
        yield row(["made with", machine])
    yield from ["", "| method | what it is |", "| --- | --- |"]
    for label in labels:
        own = record.settings[label]
        parts = [_call(spec) for spec in own["methods"]] or ["the loss alone"]
        for name in ("loss", "optimizer", "steps"):
            if own[name] != settings[name]:
                value = own[name]
                said = _call(value) if name == "loss" else f"`{json.dumps(value)}`"
                parts.append(f"{name} {said}")
        yield row([label, "; ".join(parts)])


def _teacher(record, runs):
    """What the teacher is, and how much smaller the student."""
    for taught in record.ended(TEACHER, DONE):
        settings = record.settings[TEACHER]
        model, size = settings["student"], taught["parameters"]
        said = f"{model['backbone']}, {model['dim']} numbers, {size:,} parameters"
        if runs:
            said += f": the student has {100 * runs[0]['parameters'] / size:.1f} %"
        said += f"; {settings['steps']:,} steps, seed {taught['seed']}"
        yield row(["teacher", said])
    students = {run["teacher"] for run in runs if "teacher" in run}
    if len(students) > 1:
        yield row(
            ["teachers", f"{len(students)} trainings of it: its file was made anew"]
        )


def _images(part):
    return f"{part['classes']:,} classes, {part['images']:,} images"


def _machine(machine):
    names = ("keras_distill", "keras", "tensorflow", "numpy", "python")
    versions = ", ".join(f"{name} {machine[name]}" for name in names)
    threads = machine["threads"]
    threads = "one thread" if threads == 1 else f"{threads} threads"
    return f"{versions}; {machine['device']}, {threads} a run"


def _call(spec):
    """`S2SD(dims=[256], weight=50.0)`, as code, without arguments that are null."""

    def text(value):
        if not isinstance(value, dict) or "class" not in value:
            return json.dumps(value)
        given = {k: v for k, v in value.items() if k != "class" and v is not None}
        return f"{value['class']}({', '.join(f'{k}={text(given[k])}' for k in given)})"

    return f"`{text(spec)}`"


def row(cells):
    """A row of a table of Markdown."""
    return f"| {' | '.join(cells)} |"
