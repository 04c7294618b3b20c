"""The results of a comparison of detectors: a page of Markdown, and a picture."""

from train.comparison import picture as pictures
from train.comparison.measure import Measure
from train.comparison.record import BROKEN, DONE
from train.comparison.statistics import differences, estimate
from train.comparison.table import row
from train.detecting.plan import STUDENT, TEACHER

MEASURES = {"ap": Measure("AP"), "ap50": Measure("AP50")}

NOTE = """\
Per cent: AP is the mean over IoU .50 to .95 and over classes, as COCO counts it. Mean
over the seeds and half the width of its 95 % t-interval. A seed gives all methods the
same trained student to go on with, and the same batches in the same order: differences
are paired, and **bold** where the interval leaves 0 out; intervals are not widened for
the number of methods. The weights of the last epoch are measured; nothing was chosen on
the evaluation images. The teacher is one model: intervals are over students of it."""


def compared(recipe):
    """What is compared with what: `(method, other)`, with the baseline first."""
    methods = recipe.methods
    found = [(name, recipe.baseline) for name in methods if name != recipe.baseline]
    return found + [
        (name, entry["against"]) for name, entry in methods.items() if entry["against"]
    ]


def picture(recipe, record):
    """The paired differences as a figure of matplotlib; `None` while there are none."""
    return pictures.draw(recipe, record, compared(recipe), MEASURES)


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
    if not record.runs:
        return "\n".join([*lines, "No run has ended yet.", ""])
    lines += ["```sh", record.head["command"], "```", ""]
    lines += [*_rows(recipe, record), *_against(recipe, record), "", NOTE, ""]
    unfinished = list(_unfinished(recipe, record))
    lines += [*unfinished, ""] if unfinished else []
    lines += _conditions(recipe, record)
    return "\n".join(lines) + "\n"


def _rows(recipe, record):
    headings = ["weights", "runs"]
    for measure in MEASURES.values():
        headings += [measure.title, f"against {recipe.baseline}"]
    yield row([*headings, "training"])
    yield row(["---"] + ["---:"] * len(headings))
    for label in (TEACHER, STUDENT, *recipe.methods):
        runs = record.ended(label, DONE)
        if not runs:
            continue
        cells = [label, str(len(runs))]
        for key, measure in MEASURES.items():
            cells.append(measure.text(estimate(record.figures(label, key).values())))
            gain = label in recipe.methods and label != recipe.baseline
            cells.append(_gain(record, label, recipe.baseline, key) if gain else "")
        seconds = estimate(run["seconds"] for run in runs).mean
        yield row([*cells, f"{seconds:.0f} s"])


def _against(recipe, record):
    """The comparisons with other methods than the baseline, a table of their own."""
    rows = [
        row([label, other, *(_gain(record, label, other, key) for key in MEASURES)])
        for label, other in compared(recipe)
        if other != recipe.baseline and record.ended(label, DONE)
    ]
    if rows:
        titles = [measure.title for measure in MEASURES.values()]
        yield ""
        yield row(["method", "against", *titles])
        yield row(["---", "---"] + ["---:"] * len(titles))
        yield from rows


def _gain(record, label, other, key):
    values = record.figures(label, key)
    gains = differences(values, record.figures(other, key))
    text = MEASURES[key].gain(estimate(gains.values()))
    return f"{text} ({len(gains)} seeds)" if 0 < len(gains) < len(values) else text


def _unfinished(recipe, record):
    for run in record.runs:
        if run["status"] == BROKEN:
            yield f"* {run['label']}, seed {run['seed']}: broken, {run['reason']}"
    for label in recipe.methods:
        ended = {run["seed"] for run in record.ended(label, DONE, BROKEN)}
        seeds = [str(seed) for seed in recipe.seeds if seed not in ended]
        if seeds:
            yield f"* {label}, seeds {', '.join(seeds)}: not run yet"


def _conditions(recipe, record):
    """Under which conditions these figures hold."""
    runs = [run for run in record.runs if run["status"] == DONE]
    if not runs:
        return
    sizes = {run["label"]: run["parameters"] for run in runs}
    images = runs[0]["images"]
    yield from ["| | |", "| --- | --- |"]
    yield row(["data", f"`{recipe.data}`"])
    for part, said in images.items():
        counts = f"{said['images']:,} images, {said['boxes']:,} boxes"
        yield row([{"train": "trained on"}.get(part, "measured on"), counts])
    detector = f"{recipe.detector}, {sizes.get(STUDENT, 0):,} parameters"
    if TEACHER in sizes and STUDENT in sizes:
        share = 100 * sizes[STUDENT] / sizes[TEACHER]
        detector += f": {share:.1f} % of the teacher's {sizes[TEACHER]:,}"
    yield row(["student", detector])
    for label, own in record.settings.items():
        yield row([label, _said(own)])
    for machine in dict.fromkeys(_versions(run["machine"]) for run in runs):
        yield row(["made with", machine])


def _said(settings):
    """What `train.detector` was told, as its flags."""
    words = []
    for name, value in settings["arguments"].items():
        values = value if isinstance(value, list) else [value]
        words += [f"--{name.replace('_', '-')}", *(f"{one:g}" for one in values)]
    if "method" in settings:
        words += ["--start", STUDENT]
    if settings.get("freeze_statistics"):
        words.append("--freeze-statistics")
    if settings.get("method"):
        words += ["--teacher", TEACHER, "--method", settings["method"]]
    if settings.get("options"):
        pairs = (f"{name}={value}" for name, value in settings["options"].items())
        words += ["--method-options", *pairs]
    return f"`{' '.join(words)}`"


def _versions(machine):
    return ", ".join(f"{name} {version}" for name, version in machine.items())
