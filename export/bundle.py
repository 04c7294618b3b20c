"""Export the student of a run, with a catalogue, as a bundle for devices.

The student is converted to float32 and int8 TensorFlow Lite, calibrated on images it
was trained on and verified on images it was not; a bundle that fails a check is not
written. Classes that the run held out are both the check and the default catalogue.
With a scorer, a device can ask with several images as one query. The bundle of a
detector is another, measured by its average precision: see `export.detector_run`.
"""

import argparse
import contextlib
import fnmatch
import json
import os
import pathlib
import sys

import keras_distill as kd
from export import detector_run, finished_run, report
from keras_distill import command_line

CALIBRATION_IMAGES, HELD_OUT_IMAGES = 500, 1000
MAX_DROP = 0.5
# What `--json` prints of a manifest.
FIGURES = (
    "student",
    "models",
    "class_names",
    "decoding",
    "detection",
    "catalogue",
    "retrieval",
    "search",
    "thresholds",
    "group",
    "task_library",
)

EXAMPLE = """\
python -m export.bundle runs/glyphs --out bundles/glyphs
python -m export.bundle runs/glyphs --catalogue my/images --out bundles/mine
python -m export.bundle runs/a --scorer runs/b/scorer.keras --out bundles/a
python -m export.bundle runs/detector --out bundles/detector
python -m export.bundle runs/hand --whole --per-class 4 --out bundles/hand"""


def main(argv=None):
    args = _parser().parse_args(argv)
    from keras_distill.retrieval.check_out import check_out

    check_out(args.out, args.overwrite)
    run = finished_run.read(args.run, args.scorer)
    if isinstance(run.student, kd.models.Detector):
        with _progress() as progress:
            manifest = detector_run.export(args, run, _parser(), progress)
        _print(args, manifest)
        return
    if args.score is not None:
        raise ValueError(
            "--score is of detectors, this is a run of an embedder. "
            f"Received: {args.run}, --score {args.score}"
        )
    if args.keep is not None and run.scorer is None:
        raise ValueError(
            "--keep says how many images of a group to embed: the run has no scorer, "
            f"name one with --scorer. Received: --keep {args.keep}"
        )
    student, recipe = run.student, run.recipe
    data = recipe["arguments"]["data"]
    if args.per_class is not None and args.per_class < 1:
        raise ValueError(
            f"--per-class must be at least 1. Received: --per-class {args.per_class}"
        )
    train, evaluation = _load(data, student, run.eval_classes)
    catalogue = _some_of_each(_catalogue(args, data, student, evaluation), args)
    with _progress() as progress:
        manifest = kd.retrieval.write_bundle(
            args.out,
            student,
            calibration=_sample(train, CALIBRATION_IMAGES, recipe["seed"]),
            catalogue=catalogue,
            held_out=_sample(evaluation, HELD_OUT_IMAGES, recipe["seed"]),
            recipe={**recipe, "export": {"whole": args.whole}},
            overwrite=args.overwrite,
            scorer=run.scorer,
            degradation=run.degradation,
            keep=args.keep,
            thumbnails=args.thumbnails,
            max_drop=MAX_DROP if args.max_drop is None else args.max_drop,
            runtimes=args.runtime,
            false_match_rate=args.false_match_rate,
            index_recall=args.recall,
            task_library=args.task_library,
            neighbours=args.neighbours,
            mode=args.mode,
            progress=progress,
        )
    _print(args, manifest)


def _print(args, manifest):
    """What was measured, as tables or as JSON."""
    if not args.json:
        report.show(args.out, manifest)
        return
    result = {name: manifest[name] for name in FIGURES if name in manifest}
    print(json.dumps({"bundle": str(args.out), **result}, indent=2))


def _load(data, student, eval_classes=None):
    """The classes the run trained on, and those it held out."""
    height, width, channels = student.input_shape[1:]
    return kd.data.load(
        data,
        image_size=(height, width),
        eval_classes=eval_classes,
        channels=channels,
    )


def _catalogue(args, data, student, evaluation):
    """The images to find: those held out by the run, or those of another folder."""
    if args.whole:
        images = _whole(args.catalogue or data, student)
    elif args.catalogue is None or args.catalogue == data:
        images = evaluation
    elif pathlib.Path(args.catalogue).is_dir():
        height, width, channels = student.input_shape[1:]
        images = kd.data.image_folder(args.catalogue, (height, width), channels)
    else:
        _, images = _load(args.catalogue, student)
    if args.eval_classes is None:
        return images
    try:
        return images.take_classes(
            lambda name: any(fnmatch.fnmatchcase(name, g) for g in args.eval_classes)
        )
    except ValueError as error:
        raise ValueError(
            f"--eval-classes must match a class of {images.name}, such as "
            f"{', '.join(images.class_names[:3])}. Received: {args.eval_classes}"
        ) from error


def _whole(name, student):
    """All classes of a data set, those trained on too."""
    height, width, channels = student.input_shape[1:]
    if name == "glyphs":
        return kd.data.glyphs((height, width), channels)
    if not pathlib.Path(name).is_dir():
        raise ValueError(
            f"--whole takes all classes of glyphs or of a folder. Received: {name}"
        )
    return kd.data.image_folder(name, (height, width), channels)


def _some_of_each(images, args):
    """At most `--per-class` images of each class, evenly spread in their order."""
    import numpy as np

    if args.per_class is None:
        return images
    chosen = []
    order = np.argsort(images.labels, kind="stable")
    cuts = np.flatnonzero(np.diff(images.labels[order])) + 1
    for rows in np.split(order, cuts):
        count = min(args.per_class, len(rows))
        chosen.append(rows[np.arange(count) * len(rows) // count])
    return images.subset(np.sort(np.concatenate(chosen)))


def _sample(images, count, seed):
    """Pixels of at most `count` images, drawn at random under the seed."""
    import numpy as np

    rows = np.random.default_rng(seed).permutation(len(images))[:count]
    return images.read(np.sort(rows))


@contextlib.contextmanager
def _progress():
    """A function `(what, done, total)` that draws bars on the error stream.

    Nothing is drawn where that is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    tasks = {}

    def show(what, done, total):
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done)

    # A copy of the stream: converting diverts the stream itself for a while.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as stream:
        console = Console(file=stream)
        quiet = {"redirect_stdout": False, "redirect_stderr": False}
        with Progress(console=console, transient=True, **quiet) as bars:
            yield show


def _parser():
    parser = command_line.parser(
        "export.bundle",
        "Convert the student of a run to TensorFlow Lite, prove that it still "
        "embeds alike, index a catalogue, and write all of it for devices.",
        "RUN --out FOLDER [--scorer FILE] [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("run", type=pathlib.Path, help="what a program of train has filled")
    add("--out", required=True, type=pathlib.Path, help="folder to write")
    add(
        "--catalogue",
        metavar="NAME_OR_FOLDER",
        help="images to find: a folder of class folders, or a data set by name, of "
        "which the classes for evaluation are taken (those of the run)",
    )
    add(
        "--eval-classes", nargs="+", metavar="GLOB", help="of the catalogue: only these"
    )
    add("--whole", action="store_true", help="all classes, those trained on too")
    add("--per-class", type=int, metavar="K", help="at most K images of each (all)")
    add(
        "--scorer",
        type=pathlib.Path,
        metavar="FILE",
        help="scorer.keras, to ask with several images at once (that of train.groups)",
    )
    add("--keep", type=int, help="of a group: embed only the best so many (all)")
    add(
        "--thumbnails",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="small pictures of the catalogue",
    )
    add(
        "--max-drop",
        type=float,
        metavar="POINTS",
        help="of Recall@1 (0.5) or AP (1), below Keras at any stage",
    )
    add(
        "--mode",
        choices=("int8", "int8-qat"),
        default="int8",
        help="int8-qat: train for 8 bits, and keep that if it helps (%(default)s)",
    )
    add(
        "--runtime",
        action="append",
        default=[],
        metavar="PYTHON",
        help="a Python with another interpreter, to measure too; may be repeated",
    )
    add(
        "--recall",
        type=float,
        default=0.99,
        help="of a large index, in its ten nearest (%(default)s)",
    )
    add(
        "--neighbours",
        type=int,
        default=10,
        metavar="K",
        help="that search.tflite gives (%(default)s)",
    )
    add(
        "--score",
        type=float,
        help="of a detector: what counts as found (best F1)",
    )
    add(
        "--false-match-rate",
        type=float,
        metavar="RATE",
        help="of what is accepted as a match (0.01, where the catalogue supports it)",
    )
    add(
        "--task-library",
        action="store_true",
        help="also task_searcher.tflite, for the ImageSearcher of Android",
    )
    add("--overwrite", action="store_true", help="replace the bundle in --out")
    add("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    command_line.run(main)
