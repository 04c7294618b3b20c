"""What a run of `train.groups` leaves besides its models."""

import pathlib
import shlex

from keras_distill import atomic
from train import run_folder, saved_model
from train.comparison.measure import Measure
from train.grouping import training
from train.grouping.curve import curve
from train.grouping.multiply_adds import multiply_adds
from train.grouping.summary import Summary
from train.grouping.table import table

NO_NORM = """\
No pooling by norm: the embedder gives unit vectors, and has no layer `projection` that
holds them before they are."""
GIVEN = """\
The embedder was given. If it was trained on {classes}, these are not unseen, and the
figures are too good."""
SMALL = "{count} unseen classes, over all folds, had too few images and were left out."


def finish(args, settings, images, results):
    """Writes table and curve; `metrics.json`, written last, ends the run.

    Args:
        args: Arguments of the program.
        settings: What they were made into.
        images: `ImageSet` of all classes.
        results: List of what the folds measured.
    """
    models = {
        name: saved_model.load(args.out / f"{name}.keras")
        for name in ("embedder", "scorer")
    }
    costs = {
        name: multiply_adds(model, images.image_shape) for name, model in models.items()
    }
    parameters = {name: model.count_params() for name, model in models.items()}
    summary = Summary(results)
    given = args.embedder is not None
    fixed = args.proxy_classes is not None or args.eval_classes is not None
    what = "scorer and draws" if given else "embedder, scorer and draws"
    head = {
        "title": f"Groups of {args.size} as one query: {pathlib.Path(args.data).name}",
        "command": _command(args.out),
        "size": args.size,
        "fixed": what if fixed else None,
        "notes": list(_notes(summary, given, fixed)),
        **costs,
    }
    conditions = dict(_conditions(args, settings, images, summary, costs, parameters))
    atomic.write_text(args.out / "table.md", table(summary, head, conditions))
    with atomic.file(args.out / "curve.png") as temporary:
        curve(summary, args.size).savefig(temporary, dpi=130)
    metrics = {
        "summary": summary.as_json(),
        "multiply_adds": costs,
        "parameters": parameters,
        "models_of_fold": results[-1]["fold"],
        "folds": results,
        "skipped_images": len(images.skipped),
    }
    run_folder.finish(args.out, metrics)


def _notes(summary, given, fixed):
    """What a reader of the table has to know of this run."""
    if "norm" not in summary.poolings:
        yield NO_NORM
    if given:
        yield GIVEN.format(classes="the unseen classes" if fixed else "these classes")
    small = sum(fold["classes_too_small"] for fold in summary.folds)
    if small:
        yield SMALL.format(count=small)


def _conditions(args, settings, images, summary, costs, parameters):
    last = summary.folds[-1]
    yield "data", f"`{args.data}`, {'x'.join(str(n) for n in images.image_shape)}"
    for side in ("proxy", "unseen"):
        count, of = last["classes"][side], last["images"][side]
        yield side, f"{count:,} classes, {of:,} images"
    yield "folds", f"{len(summary.folds)}, each of {args.draws} draws"
    genuine, impostor = last["pairs"].values()
    yield (
        "groups",
        f"{args.groups} of {args.size} images a class, one of them the gallery's: "
        f"{genuine:,} genuine and {impostor:,} impostor pairs a draw",
    )
    yield "degradation", _named(training.degrade_config(settings["degrade"]))
    embedder = f"`{args.embedder}`"
    if args.embedder is None:
        options = _named(settings["embedder_options"])
        embedder = f"trained in each fold on its proxy classes: {options}"
    yield "embedder", f"{embedder}; {_size(costs, parameters, 'embedder')}"
    yield "scorer", f"width {args.scorer_width}; {_size(costs, parameters, 'scorer')}"
    if costs["scorer"] is not None and costs["embedder"]:
        share = 100 * costs["scorer"] / costs["embedder"]
        yield "", f"{share:.2f} % of the embedder's multiply-adds"
    yield (
        "scorer trained",
        f"{args.epochs} epochs of {args.views} views of each proxy image, "
        f"rate {args.learning_rate:g}",
    )
    agreement = Measure("Spearman", scale=1.0).text(summary.correlation())
    yield "scores and true indicators", f"{agreement}, Spearman's correlation"
    versions = run_folder.versions()
    yield "made with", ", ".join(f"{name} {v}" for name, v in versions.items())


def _named(options):
    return ", ".join(f"{k} {v}" for k, v in options.items() if v is not None)


def _size(costs, parameters, name):
    said = f"{parameters[name]:,} parameters"
    return said if costs[name] is None else f"{said}, {costs[name]:,} multiply-adds"


def _command(out):
    """The command that the run was begun with, as one to begin it anew."""
    command = run_folder.read(out)["command"]
    return shlex.join(part for part in command if part != "--overwrite")
