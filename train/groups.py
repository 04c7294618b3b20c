"""Learn which images of a group to trust, and measure it on classes never seen.

The run folder holds `scorer.keras`, the `embedder.keras` it belongs to, `recipe.json`,
`metrics.json`, `table.md`, `groups.png` and `curve.png`. Models and `groups.png` are
those of the last fold. A fold that has ended is kept: `--resume` goes on with the next.
"""

import pathlib
import sys

import keras_distill as kd
from keras_distill import command_line
from train import methods, run_folder, saved_model
from train.grouping import embedding, folds

EXAMPLE = """\
python -m train.groups --data faces --folds 4 --out runs/faces_groups
python -m train.groups --data images --embedder runs/x --folds 3 \\
  --eval-classes 'Greek/*' --degrade blur=0.1 share=0.7 --out runs/x_groups"""

LEAST = {"folds": 1, "size": 2, "groups": 2, "draws": 1, "views": 1, "image_size": 1}
LEAST |= {"scorer_width": 2, "epochs": 1, "batch_size": 1, "seed": 0}


def main(argv=None):
    args = _parser().parse_args(argv)
    _check(args)
    arguments = run_folder.plain_arguments(args)
    state = run_folder.check(args.out, arguments, args.resume, args.overwrite)
    if state == "finished":
        print(f"The run is finished: {args.out}")
    else:
        measure(args, arguments, resume=state == "unfinished")
    print((args.out / "table.md").read_text(encoding="utf-8"))
    for path in sorted(args.out.iterdir()):
        print(f"  {path}")


def measure(args, arguments, resume):
    """Runs the folds that are missing and writes what comes of all of them."""
    from train.grouping import report, training

    settings = _settings(args)
    given = None if args.embedder is None else saved_model.load(args.embedder)
    images = _images(args, given)
    every = folds.folds(
        images.class_names, args.folds, args.proxy_classes, args.eval_classes, args.seed
    )
    for fold in every:
        training.check(fold, images, settings)
    data = _described(images, given)
    if resume:
        run_folder.check_data(args.out, data)
    else:
        resolved = {
            "degrade": training.degrade_config(settings["degrade"]),
            "embedder_options": None if given else settings["embedder_options"],
            "folds": [fold._asdict() for fold in every],
        }
        run_folder.begin(args.out, arguments, data, resolved)
    done = training.finished(args.out)
    try:
        for fold in every:
            if fold.number in done:
                continue
            sizes = f"{len(fold.proxy)} proxy classes, {len(fold.unseen)} unseen"
            print(f"Fold {fold.number + 1} of {len(every)}: {sizes}", flush=True)
            result = training.run(fold, images, settings, args.out)
            training.keep(result, args.out)
            done[fold.number] = result
            print(training.line(result), flush=True)
        results = [done[fold.number] for fold in every]
        report.finish(args, settings, images, results)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command with --resume goes on with the run.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _settings(args):
    """What the folds need of the arguments, or a refusal."""
    from train.grouping import training

    settings = {
        "embedder": args.embedder,
        "embedder_options": embedding.settings(methods.options(args.embedder_options)),
        "degrade": methods.options(args.degrade),
        "width": args.scorer_width,
        **{name: getattr(args, name) for name in ("size", "groups", "draws", "views")},
        **{name: getattr(args, name) for name in ("epochs", "batch_size")},
        "learning_rate": args.learning_rate,
    }
    training.degradation(settings["degrade"])
    return settings


def _images(args, given):
    """All classes, at the size that a given embedder takes."""
    print(f"Reading {args.data}", flush=True)
    *size, channels = _image_shape(given, args)
    if args.data == "glyphs":
        images = kd.data.glyphs(tuple(size), channels=channels or 1)
    else:
        images = kd.data.image_folder(args.data, tuple(size), channels)
    classes = len(images.class_names)
    print(f"{len(images):>8,} images of {classes:,} classes", flush=True)
    return images


def _image_shape(given, args):
    """`(height, width, channels)`, the last `None` where nothing asks for any."""
    size = (args.image_size or embedding.IMAGE_SIZE,) * 2
    if given is None:
        return *size, None
    shape = getattr(given, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ValueError(
            "The embedder must take images, (height, width, channels). "
            f"Received: {args.embedder}, which takes {shape}"
        )
    *own, channels = shape[1:]
    if None in own and args.image_size is None:
        raise ValueError(
            "The embedder takes images of any size: choose one with --image-size. "
            f"Received: {args.embedder}, which takes {shape}"
        )
    if args.image_size is not None and any(n not in (None, size[0]) for n in own):
        raise ValueError(
            "The embedder takes images of one size: leave --image-size out. "
            f"Received: --image-size {args.image_size}, and {args.embedder} takes {own}"
        )
    return *(size if None in own else own), channels


def _described(images, given):
    from keras_distill.data.teacher_fingerprint import teacher_fingerprint

    found = {
        "name": images.name,
        "fingerprint": images.fingerprint(),
        "image_shape": list(images.image_shape),
        "classes": len(images.class_names),
        "images": len(images),
    }
    return found if given is None else {**found, "embedder": teacher_fingerprint(given)}


def _check(args):
    for name, least in LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise ValueError(
                f"--{name.replace('_', '-')} must be at least {least}. "
                f"Received: {value}"
            )
    if not 0 < args.learning_rate < float("inf"):
        raise ValueError(
            f"--learning-rate must be positive. Received: {args.learning_rate}"
        )
    if args.embedder is not None and args.embedder_options:
        raise ValueError(
            "--embedder-options are of an embedder that is trained here: leave them "
            f"out. Received: --embedder {args.embedder}"
        )


def _parser():
    parser = command_line.parser(
        "train.groups",
        "Fit a scorer that weighs the images of a group (DDL) on proxy classes, and "
        "compare poolings on groups of unseen ones.",
        "--data FOLDER --out FOLDER [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--data", required=True, help="glyphs, or a folder of class folders")
    add("--out", required=True, type=pathlib.Path, help="folder the run fills")
    add("--resume", action="store_true", help="go on with the interrupted run in --out")
    add("--overwrite", action="store_true", help="replace the run in --out")
    add("--folds", type=int, help="halves by lot; or seeds (%(default)s)")
    add("--proxy-classes", nargs="+", metavar="GLOB", help="classes to learn from")
    add("--eval-classes", nargs="+", metavar="GLOB", help="classes to measure on")
    add(
        "--embedder", metavar="RUN", help="a run or .keras file (one is trained a fold)"
    )
    add(
        "--embedder-options",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="of the training: backbone=conv4_32 dim=64",
    )
    add("--image-size", type=int, metavar="PIXELS", help=f"({embedding.IMAGE_SIZE})")
    add("--size", type=int, metavar="N", help="images a group (%(default)s)")
    add(
        "--groups",
        type=int,
        metavar="N",
        help="of a class, one of them in the gallery (%(default)s)",
    )
    add("--draws", type=int, metavar="N", help="of all groups, a fold (%(default)s)")
    add(
        "--degrade",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="of layers.RandomDegradation: blur=0.1 share=0.7",
    )
    add(
        "--views",
        type=int,
        metavar="N",
        help="degraded, of a proxy image (%(default)s)",
    )
    add("--scorer-width", type=int, metavar="N", help="channels (%(default)s)")
    add("--epochs", type=int, help="of the scorer (%(default)s)")
    add("--batch-size", type=int, metavar="N", help="(%(default)s)")
    add("--learning-rate", type=float, metavar="RATE", help="(%(default)s)")
    add("--seed", type=int, help="(%(default)s)")
    parser.set_defaults(
        folds=4,
        size=5,
        groups=2,
        draws=20,
        views=8,
        scorer_width=8,
        epochs=20,
        batch_size=128,
        learning_rate=2e-3,
        seed=0,
    )
    return parser


if __name__ == "__main__":
    command_line.run(main)
