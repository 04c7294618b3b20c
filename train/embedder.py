"""Train an image embedder, with or without distillation, and measure it.

The run folder holds `student.keras`, `recipe.json`, `metrics.json`, `history.csv`,
`neighbours.png` and TensorBoard logs. What is measured are classes that took no part
in training, and nothing is chosen by them: to choose an epoch, hold out a part of the
training classes with `--validation-classes`.
"""

import argparse
import math
import pathlib
import shutil
import statistics
import sys

import keras_distill as kd
from keras_distill import atomic, command_line
from train import (
    embedder_images,
    methods,
    optimization,
    report,
    run_folder,
    saved_model,
)

# What a run is unless flags say otherwise.
DEFAULTS = {
    "image_size": 48,
    "backbone": "conv4",
    "dim": 32,
    "method": "s2sd",
    "loss": "multi_similarity",
    "epochs": None,  # as many as make STEPS
    "classes_per_batch": 28,
    "images_per_class": 4,
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "augment": True,
    "hand": False,
    "teacher_views": 8,
    "seed": 0,
}
STEPS = 2000  # Data sets differ a hundredfold in size, a small net's need does not.

EXAMPLE = """\
python -m train.embedder --data glyphs --method s2sd --out runs/glyphs
python -m train.embedder --data images --eval-classes 'Greek/*' --out runs/x"""


def main(argv=None):
    args = _parser().parse_args(argv)
    _check(args)
    arguments = run_folder.plain_arguments(args)
    state = run_folder.check(args.out, arguments, args.resume, args.overwrite)
    if state == "finished":
        print(f"The run is finished: {args.out}")
    else:
        train(args, arguments, resume=state == "unfinished")
    report.show(args.out)


def train(args, arguments, resume):
    """Trains what the arguments describe, into the folder `args.out`."""
    import keras

    from keras_distill.data.teacher_fingerprint import teacher_fingerprint
    from train.progress import Record

    keras.utils.set_random_seed(args.seed)
    kd.losses.needs_num_classes(args.loss)  # an unknown one is refused at once
    options = methods.options(args.method_options)
    terms = methods.make(args.method, options, args.teacher is not None)
    teacher = None if args.teacher is None else saved_model.load(args.teacher)
    images, held_out = embedder_images.load(args)
    criterion = _loss(args, len(images.class_names))
    student = kd.models.embedder(
        args.backbone, images.image_shape, args.dim, weights=args.weights
    )
    if args.freeze_statistics:
        student = kd.models.frozen_statistics(student)
    # Before anything that takes time: it refuses what does not fit together.
    distiller = kd.Distiller(student, methods=terms, teacher=teacher)
    monitor = "val_recall_at_1" if "validation" in held_out else None
    record = Record(args.out, monitor, resume)
    batches = kd.data.class_balanced(
        images,
        classes=args.classes_per_batch,
        per_class=args.images_per_class,
        seed=args.seed,
        first_epoch=record.epochs_done,
        **embedder_images.views(args, images, teacher, terms),
    )
    steps = int(batches.cardinality())
    epochs = args.epochs or math.ceil(STEPS / steps)
    print(f"{epochs:>8,} epochs of {steps:,} steps", flush=True)
    optimizer = optimization.adamw(
        epochs * steps, args.learning_rate, args.weight_decay
    )
    distiller.compile(optimizer, loss=criterion)
    data = embedder_images.described(images, held_out)
    if teacher is not None:
        data["teacher"] = teacher_fingerprint(teacher)
    if resume:
        run_folder.check_data(args.out, data)
    else:
        resolved = {
            "epochs": epochs,
            "steps": epochs * steps,
            "method_options": methods.with_defaults(args.method, options),
            "augmentation": embedder_images.augmentation(args)[1],
        }
        run_folder.begin(args.out, arguments, data, resolved)

    try:
        an_epoch = steps * args.classes_per_batch * args.images_per_class
        _fit(args.out, distiller, batches, epochs, an_epoch, held_out, record)
        _finish(args.out, distiller.student, images, held_out, record, an_epoch)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command with --resume goes on with the run.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _fit(out, distiller, batches, epochs, an_epoch, held_out, record):
    import keras

    from train.progress import EpochLine, Stopwatch

    terminal = sys.stdout.isatty()
    callbacks = [Stopwatch()]
    if "validation" in held_out:
        callbacks.append(kd.callbacks.RetrievalEvaluation(held_out["validation"]))
    callbacks.append(
        keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False)
    )
    callbacks.append(record)
    if not terminal:  # After the record: an epoch that was told of is kept.
        callbacks.append(EpochLine(an_epoch))
    distiller.fit(
        batches,
        epochs=epochs,
        initial_epoch=record.epochs_done,
        verbose=1 if terminal else 0,
        callbacks=callbacks,
    )


def _finish(out, student, images, held_out, record, an_epoch):
    """Saves, measures and draws; `metrics.json`, written last, ends the run."""
    import keras

    with atomic.file(out / "student.keras") as temporary:
        student.save(temporary)
    embed = kd.metrics.Embedder(student)
    metrics = {"last": _measured(embed, held_out, record.epochs_done)}
    if record.best is not None:
        with atomic.file(out / "student_best.keras") as temporary:
            shutil.copyfile(record.best_student, temporary)
        best = keras.saving.load_model(out / "student_best.keras", compile=False)
        best = kd.metrics.Embedder(best)
        metrics["best"] = _measured(best, held_out, record.best["epoch"])
    grid = kd.retrieval.neighbour_grid(
        held_out["evaluation"], *embed(held_out["evaluation"])
    )
    with atomic.file(out / "neighbours.png") as temporary:
        grid.save(temporary)
    seconds = [row["seconds"] for row in record.rows]
    metrics["training"] = {
        "images": an_epoch * record.epochs_done,
        "seconds": sum(seconds),
        # The first epoch holds the tracing of the graph, so not the mean.
        "images_per_second": an_epoch / statistics.median(seconds),
    }
    skipped = {file for some in (images, *held_out.values()) for file in some.skipped}
    metrics["skipped_images"] = len(skipped)
    run_folder.finish(out, metrics)


def _measured(embed, held_out, epoch):
    reports = {
        name: kd.metrics.retrieval_report(*embed(images))
        for name, images in held_out.items()
    }
    return {"epoch": epoch, **reports}


def _check(args):
    for name, least in (("epochs", 1), ("seed", 0), ("teacher_views", 1)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            raise ValueError(
                f"--{name.replace('_', '-')} must be at least {least}. "
                f"Received: {getattr(args, name)}"
            )
    if args.teacher_cache is not None and args.teacher is None:
        raise ValueError(
            "--teacher-cache keeps what a teacher says: name one with --teacher. "
            "Received: no --teacher"
        )
    if args.freeze_statistics and args.weights is None:
        raise ValueError(
            "--freeze-statistics keeps those of trained weights: name these with "
            "--weights. Received: --freeze-statistics without --weights"
        )
    if args.hand and not args.augment:
        raise ValueError(
            "--hand adds to the augmentation: leave --no-augment out. "
            "Received: --hand --no-augment"
        )
    optimization.check(args.learning_rate, args.weight_decay)


def _loss(args, classes):
    options = methods.options(args.loss_options)
    default = kd.losses.get(args.loss, classes)
    methods.check(options, type(default), f"--loss {args.loss}")
    return kd.losses.get(args.loss, **{"num_classes": classes, **options})


def _parser():
    parser = command_line.parser(
        "train.embedder",
        "Train an image embedder and measure its retrieval on classes it never saw.",
        "--data NAME_OR_FOLDER --out FOLDER [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--data", required=True, help="glyphs, a folder of class folders, or tfds:NAME")
    add("--eval-classes", nargs="+", metavar="GLOB", help="classes to evaluate on only")
    add(
        "--validation-classes",
        type=float,
        metavar="SHARE",
        help="share of the training classes to choose an epoch by",
    )
    add("--out", required=True, type=pathlib.Path, help="folder the run fills")
    add("--resume", action="store_true", help="go on with the interrupted run in --out")
    add("--overwrite", action="store_true", help="replace the run in --out")
    add(
        "--method",
        metavar="NAME",
        help="none, s2sd or another of kd.methods (%(default)s)",
    )
    add(
        "--method-options",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="such as dims=256,512 weight=50",
    )
    add("--teacher", metavar="RUN", help="a run or .keras file that teaches")
    add(
        "--teacher-cache",
        type=pathlib.Path,
        metavar="FOLDER",
        help="ask the teacher once, of fixed views, and keep what it says",
    )
    add("--teacher-views", type=int, metavar="N", help="of each image (%(default)s)")
    add("--loss", metavar="NAME", help="of kd.losses (%(default)s)")
    add(
        "--loss-options",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="such as alpha=2 base=0.5",
    )
    add("--backbone", help="conv4, separable, a keras.applications name (%(default)s)")
    add("--weights", choices=("imagenet",), help="of a keras.applications backbone")
    add(
        "--freeze-statistics",
        action="store_true",
        help="keep the averages of batch normalisation that --weights brings",
    )
    add("--dim", type=int, help="width of the embedding (%(default)s)")
    add("--image-size", type=int, metavar="PIXELS", help="(%(default)s)")
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="shift, turn, scale and shear training images",
    )
    add("--hand", action="store_true", help="vary strokes too, as drawing by hand does")
    add("--epochs", type=int, help=f"(as many as make {STEPS:,} steps)")
    add("--classes-per-batch", type=int, metavar="P", help="(%(default)s)")
    add("--images-per-class", type=int, metavar="K", help="(%(default)s)")
    add("--learning-rate", type=float, metavar="RATE", help="(%(default)s)")
    add("--weight-decay", type=float, metavar="RATE", help="(%(default)s)")
    add("--seed", type=int, help="(%(default)s)")
    parser.set_defaults(**DEFAULTS)
    return parser


if __name__ == "__main__":
    command_line.run(main)
