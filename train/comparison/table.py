"""The results as a page of Markdown."""

import json

from train.comparison.plan import TEACHER, TRUNK
from train.comparison.record import BROKEN, DIVERGED, DONE, changes
from train.comparison.statistics import differences, estimate
from train.comparison.tasks import TASKS

NOTE = """\
{units}: mean over the seeds and half the width of its 95 % t-interval. A difference is
paired: the same seed gives every method the same initial student and the same batches.
**Bold** where its interval leaves 0 out; intervals are not widened for the number of
methods. The student of the last epoch is measured; nothing was chosen on the {measured}
{apart}. Seconds are those of the training steps, the first of which trace the graph."""

# Of recipes with a teacher.
TAUGHT = """\
All methods, the baseline included, see the same fixed views of the images; the teacher
is one model, and intervals are over students of this teacher."""

# What a difference must not be made of. The rest is what methods may have of their own.
SHARED = ("task", "data", "image_size", "student", "trunk", "batch", "augment", "views")


def table(recipe, record, lost=None):
    """Markdown of all runs that have ended.

    Args:
        recipe: `Recipe`.
        record: `Record`.
        lost: Dictionary from the methods that are not going to be run to the reason.

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
    lines += [*_against(recipe, record), ""]
    task = TASKS[recipe.task]
    words = {"apart": task.apart, "measured": task.measured, "units": task.units}
    lines += [NOTE.format(**words), ""]
    lines += [TAUGHT, ""] if recipe.teacher is not None else []
    unfinished = list(_unfinished(recipe, record, lost or {}))
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


def pairs(recipe, record):
    """What is compared with what: `(method, other)`, with the baseline first."""
    labels = [
        label
        for label in shown(recipe, record)
        if label in recipe.methods or not apart(record, label, recipe.baseline)
    ]
    found = [(label, recipe.baseline) for label in labels if label != recipe.baseline]
    others = {label: entry["against"] for label, entry in recipe.methods.items()}
    return found + [
        (label, others[label]) for label in labels if others.get(label) in labels
    ]


def apart(record, label, other):
    """The settings for which runs of two methods cannot be compared, as a list."""
    one, two = (record.settings.get(name, {}) for name in (label, other))
    if not one or not two:
        return []
    # Either may be the older, which lacks an argument that a class got later.
    return [
        name
        for name in SHARED
        if changes(one.get(name), two.get(name))
        and changes(two.get(name), one.get(name))
    ]


def _rows(recipe, record, labels):
    task = TASKS[recipe.task]
    budgets = {record.settings[label]["steps"] for label in labels}
    taught = _taught(recipe, record)
    headings = ["method", "runs"]
    headings += ["steps"] if len(budgets) > 1 else []
    for measure in task.measures.values():
        headings += [measure.title, f"against {recipe.baseline}"]
    merit = task.measures[task.merit].title
    headings += [f"of the teacher's {merit}"] if taught else []
    yield row([*headings, "training"])
    yield row(["---"] + ["---:"] * len(headings))
    compared = {one for one, other in pairs(recipe, record) if other == recipe.baseline}
    if taught:
        cells = [TEACHER, "1"]
        cells += [f"{record.settings[TEACHER]['steps']:,}"] if len(budgets) > 1 else []
        for key, measure in task.measures.items():
            cells += [measure.text(estimate([taught["figures"][key]])), ""]
        yield row([*cells, "", f"{taught['seconds']:.0f} s"])
    for label in labels:
        cells = [label, _count(record, label)]
        if len(budgets) > 1:
            cells.append(f"{record.settings[label]['steps']:,}")
        for key, measure in task.measures.items():
            cells.append(measure.text(estimate(record.figures(label, key).values())))
            gain = _gain(recipe, record, label, key) if label in compared else ""
            cells.append(gain)
        if taught:
            whole = taught["figures"][task.merit]
            of_it = label in (recipe.baseline, *compared)
            cells.append(_kept(record, label, task.merit, whole) if of_it else "")
        seconds = estimate(run["seconds"] for run in record.ended(label, DONE))
        cells.append("" if seconds is None else f"{seconds.mean:.0f} s")
        yield row(cells)


def _against(recipe, record):
    """The comparisons with other methods than the baseline, a table of their own."""
    measures = TASKS[recipe.task].measures
    rows = [
        row([label, other, *(_gain(recipe, record, label, k, other) for k in measures)])
        for label, other in pairs(recipe, record)
        if other != recipe.baseline
    ]
    if rows:
        titles = [measure.title for measure in measures.values()]
        yield ""
        yield row(["method", "against", *titles])
        yield row(["---", "---"] + ["---:"] * len(titles))
        yield from rows


def _taught(recipe, record):
    """The finished run of the teacher, `None` where there is none."""
    runs = record.ended(TEACHER, DONE)
    if recipe.teacher is not None:
        runs = [run for run in runs if run["seed"] == recipe.teacher["seed"]]
    return runs[-1] if runs else None


def _kept(record, label, merit, whole):
    """The mean's share of the teacher's figure of merit."""
    value = estimate(record.figures(label, merit).values())
    return "" if value is None or not whole else f"{100 * value.mean / whole:.1f} %"


def _count(record, label):
    done = len(record.ended(label, DONE))
    failed = len(record.ended(label, DIVERGED, BROKEN))
    return f"{done} + {failed} failed" if failed else str(done)


def _gain(recipe, record, label, key, other=None):
    """The paired difference to another method, the baseline where none is named."""
    values = record.figures(label, key)
    gains = differences(values, record.figures(other or recipe.baseline, key))
    text = TASKS[recipe.task].measures[key].gain(estimate(gains.values()))
    lacks = gains and len(gains) < len(values)
    return f"{text} ({len(gains)} seeds)" if lacks else text


def _unfinished(recipe, record, lost):
    for run in record.runs:
        if run["status"] != DONE:
            which = f"{run['label']}, seed {run['seed']}"
            yield f"* {which}: {run['status']}, {run['reason']}"
    for method in recipe.methods:
        ended = {run["seed"] for run in record.ended(method, DONE, DIVERGED, BROKEN)}
        seeds = [str(seed) for seed in recipe.seeds if seed not in ended]
        if seeds and method in lost:
            yield f"* {method}: {lost[method]}"
        elif seeds:
            which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"
            yield f"* {method}, {which}: not run yet"
    for method in shown(recipe, record):
        if method not in recipe.methods:
            names = ", ".join(apart(record, method, recipe.baseline))
            why = f"; not comparable: it had another {names}" if names else ""
            yield f"* {method}: no longer in the recipe{why}"


def _conditions(recipe, record, labels):
    """Under which conditions these figures hold."""
    task, images = TASKS[recipe.task], record.head["data"]
    settings = record.settings[labels[0]]
    kept = getattr(recipe, task.trained_by) if task.trained_by else None
    runs = [run for label in labels for run in record.ended(label, DONE)]
    student, batch = settings["student"], settings["batch"]
    optimizer = settings["optimizer"]
    shape = "x".join(str(n) for n in images["image_shape"])
    yield from ["| | |", "| --- | --- |"]
    yield row(["data", f"`{recipe.data}`, {shape}"])
    yield row(["trained on", _part(task, images["training"], kept)])
    measured = getattr(recipe, task.measured_by)
    yield row(["measured on", _part(task, images[task.measured], measured)])
    sizes = {f"{run['parameters']:,}" for run in runs}
    size = f", {' or '.join(sorted(sizes))} parameters" if sizes else ""
    yield row(["student", task.described(student) + size])
    yield from _trunks(task, record, settings)
    yield from _teacher(task, record, _taught(recipe, record), runs)
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
    layers = settings["augment"] or []
    layers = layers if isinstance(layers, list) else [layers]
    augment = ", then ".join(map(_call, layers)) or "none"
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


def _trunks(task, record, settings):
    """What students, and the teacher, began with."""
    taught = record.settings.get(TEACHER, {})
    for who, own in (("student", settings), (TEACHER, taught)):
        if TRUNK not in own:
            continue
        entry, said = own[TRUNK], record.head[TRUNK][who]
        measure = task.measures[task.merit]
        merit = measure.text(estimate([said["figures"][task.merit]]))
        yield row(
            [
                f"trunk of the {who}",
                f"{task.described(entry['student'])}: {entry['steps']:,} steps on "
                f"`{entry['path']}`, {merit} {measure.title} on what it did not see "
                f"there, seed {entry['seed']}",
            ]
        )


def _teacher(task, record, taught, runs):
    """What the teacher is, and how much smaller the student."""
    if taught:
        settings = record.settings[TEACHER]
        size = taught["parameters"]
        said = f"{task.described(settings['student'])}, {size:,} parameters"
        if runs:
            said += f": the student has {100 * runs[0]['parameters'] / size:.1f} %"
        said += f"; {settings['steps']:,} steps, seed {taught['seed']}"
        yield row(["teacher", said])
    students = {run["teacher"] for run in runs if "teacher" in run}
    if len(students) > 1:
        yield row(
            ["teachers", f"{len(students)} trainings of it: its file was made anew"]
        )


def _part(task, images, which):
    """How much there is of a part of the data, and what made it that."""
    said = task.said(which)
    count = f"{images['classes']:,} classes, {images['images']:,} images"
    return count + (f" ({said})" if said else "")


def _machine(machine):
    names = ("keras_distill", "keras", "tensorflow", "numpy", "python")
    versions = ", ".join(f"{name} {machine[name]}" for name in names)
    threads = machine["threads"]
    threads = "one thread" if threads == 1 else f"{threads} threads"
    # Runs from before it was written down have none.
    code = f", code {machine['code']}" if "code" in machine else ""
    return f"{versions}{code}; {machine['device']}, {threads} a run"


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
