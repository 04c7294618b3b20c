"""Train an object detector, with or without a teacher, and measure it.

The run folder holds `student.keras` (the detector, whatever its role), `recipe.json`,
`metrics.json`, `history.csv`, `detections.png` and TensorBoard logs. Nothing is chosen
by the images that are measured.
"""

import argparse
import pathlib
import statistics
import sys

import keras_distill as kd
from keras_distill import atomic, command_line
from train import detection_table, optimization, run_folder
from train.detector_sizes import HEADS, PYRAMIDS

# What a run is unless flags say otherwise.
DEFAULTS = {
    "image_size": [256, 320],
    "method": "global_knowledge",
    "epochs": 24,
    "batch_size": 8,
    "learning_rate": 2e-3,
    "weight_decay": 1e-4,
    "augment": True,
    "seed": 0,
}
AUGMENTATION = {"horizontal": True, "vertical": True, "scale": 0.25}

EXAMPLE = """\
python -m train.detector --data bccd --detector retinanet --role teacher \\
  --out runs/t
python -m train.detector --data bccd --detector retinanet --role student \\
  --start runs/s --teacher runs/t --out runs/d"""


def main(argv=None):
    args = _parser().parse_args(argv)
    _check(args)
    arguments = run_folder.plain_arguments(args)
    state = run_folder.check(args.out, arguments, args.resume, args.overwrite)
    if state == "finished":
        print(f"The run is finished: {args.out}")
    else:
        train(args, arguments, resume=state == "unfinished")
    detection_table.show(args.out)


def train(args, arguments, resume):
    """Trains what the arguments describe, into the folder `args.out`."""
    import keras

    from keras_distill.data.teacher_fingerprint import teacher_fingerprint
    from train.detecting import models
    from train.progress import Record

    keras.utils.set_random_seed(args.seed)
    teacher = None if args.teacher is None else models.load(args.teacher, args)
    start = None if args.start is None else models.load(args.start, args)
    boxes, evaluation = _data(args)
    models.refuse_other_classes("--teacher", args.teacher, teacher, boxes)
    models.refuse_other_classes("--start", args.start, start, boxes)
    student = models.make_student(args, start, boxes)
    beginning = None if start is None else teacher_fingerprint(start)
    model, options = models.make_model(args, student, teacher)
    record = Record(args.out, None, resume)
    batches = kd.data.box_batches(
        boxes,
        args.batch_size,
        kd.layers.RandomBoxAffine(**AUGMENTATION) if args.augment else None,
        args.seed,
        record.epochs_done,
    )
    steps = int(batches.cardinality())
    print(f"{args.epochs:>8,} epochs of {steps:,} steps", flush=True)
    rate, decay = args.learning_rate, args.weight_decay
    model.compile(optimization.adamw(args.epochs * steps, rate, decay))
    data = {
        "name": boxes.name,
        "fingerprint": boxes.fingerprint(),
        "image_shape": list(boxes.image_shape),
        "class_names": list(boxes.class_names),
        "train": _counts(boxes),
        "evaluation": _counts(evaluation),
    }
    if teacher is not None:
        data["teacher"] = teacher_fingerprint(teacher)
    if args.start is not None:
        data["start"] = beginning
    if resume:
        run_folder.check_data(args.out, data)
    else:
        resolved = {
            "steps": args.epochs * steps,
            "weights": student.count_params(),
            "method_options": options,
            "augmentation": AUGMENTATION if args.augment else None,
        }
        run_folder.begin(args.out, arguments, data, resolved)
    an_epoch = steps * args.batch_size
    try:
        refreshes = models.refreshes(args, model, boxes)
        _fit(args, model, batches, evaluation, record, an_epoch, refreshes)
        _finish(args.out, student, boxes, evaluation, record, an_epoch)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. The same command with --resume goes on with the run.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _data(args):
    """The images to train on and to evaluate on."""
    print(f"Reading {args.data}", flush=True)
    boxes, evaluation = kd.data.load_boxes(
        args.data, tuple(args.image_size), args.eval_split
    )
    for role, some in {"training": boxes, "evaluation": evaluation}.items():
        print(f"{len(some):>8,} images, {some.box_count:,} boxes: {role}", flush=True)
    return boxes, evaluation


def _fit(args, model, batches, evaluation, record, an_epoch, refreshes):
    import keras

    from train.progress import EpochLine, Stopwatch

    terminal = sys.stdout.isatty()
    callbacks = [*refreshes, Stopwatch()]
    if args.measure_every:
        callbacks.append(
            kd.callbacks.DetectionEvaluation(evaluation, args.measure_every)
        )
    callbacks.append(
        keras.callbacks.TensorBoard(args.out / "tensorboard", write_graph=False)
    )
    callbacks.append(record)
    if not terminal:  # After the record: an epoch that was told of is kept.
        callbacks.append(EpochLine(an_epoch))
    model.fit(
        batches,
        epochs=args.epochs,
        initial_epoch=record.epochs_done,
        verbose=1 if terminal else 0,
        shuffle=False,  # The batches are.
        callbacks=callbacks,
    )


def _finish(out, student, boxes, evaluation, record, an_epoch):
    """Saves, measures and draws; `metrics.json`, written last, ends the run."""
    with atomic.file(out / "student.keras") as temporary:
        student.save(temporary)
    found = kd.metrics.detect(student, evaluation)
    report = kd.metrics.detection_report(
        evaluation.boxes,
        evaluation.labels,
        found,
        evaluation.class_names,
        evaluation.ignored,
        evaluation.scales,
    )
    with atomic.file(out / "detections.png") as temporary:
        kd.detection.picture(evaluation, found).save(temporary)
    seconds = [row["seconds"] for row in record.rows]
    metrics = {
        "last": {
            "epoch": record.epochs_done,
            "evaluation": detection_table.plain(report),
        },
        "training": {
            "images": an_epoch * record.epochs_done,
            "seconds": sum(seconds),
            # The first epoch holds the tracing of the graph, so not the mean.
            "images_per_second": an_epoch / statistics.median(seconds),
        },
        "skipped_images": len(boxes.skipped) + len(evaluation.skipped),
        "dropped_boxes": len(boxes.dropped) + len(evaluation.dropped),
    }
    run_folder.finish(out, metrics)


def _check(args):
    for name, least in (("epochs", 1), ("batch_size", 1), ("measure_every", 0)):
        if getattr(args, name) < least:
            raise ValueError(
                f"--{name.replace('_', '-')} must be at least {least}. "
                f"Received: {getattr(args, name)}"
            )
    if args.role == "teacher" and args.teacher is not None:
        raise ValueError(
            "A teacher is trained alone: leave --teacher out, or say --role student. "
            f"Received: --role teacher --teacher {args.teacher}"
        )
    if args.method_options and args.teacher is None:
        raise ValueError(
            "--method-options are of a method that learns from a teacher: name one "
            f"with --teacher. Received: {' '.join(args.method_options)}"
        )
    if args.freeze_statistics and args.start is None:
        raise ValueError(
            "--freeze-statistics keeps those of a trained detector: name one with "
            "--start. Received: --freeze-statistics without --start"
        )
    if any(side < 32 or side % 32 for side in args.image_size):
        raise ValueError(
            "--image-size must be two multiples of 32, height and width. "
            f"Received: {' '.join(map(str, args.image_size))}"
        )
    optimization.check(args.learning_rate, args.weight_decay)


def _counts(boxes):
    return {"images": len(boxes), "boxes": boxes.box_count}


def _parser():
    parser = command_line.parser(
        "train.detector",
        "Train an object detector, alone or from a teacher, and measure its average "
        "precision.",
        "--data DATA --detector D --role ROLE --out DIR",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--data", required=True, help="folder (Pascal VOC, COCO, JSON) or tfds:NAME")
    add("--eval-split", metavar="NAME", help="split to evaluate on (test, else val)")
    add("--detector", required=True, choices=HEADS, help="what it is")
    add("--role", required=True, choices=PYRAMIDS, help="how large it is")
    add("--start", metavar="RUN", help="a run or file whose weights it begins with")
    add(
        "--freeze-statistics",
        action="store_true",
        help="keep batch normalisation's averages as --start has them",
    )
    add("--teacher", metavar="RUN", help="a run or .keras file that teaches")
    add("--method", metavar="NAME", help="how the teacher teaches (%(default)s)")
    add(
        "--method-options",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="such as global_weight=5",
    )
    add("--out", required=True, type=pathlib.Path, help="folder the run fills")
    add("--resume", action="store_true", help="go on with the interrupted run in --out")
    add("--overwrite", action="store_true", help="replace the run in --out")
    add(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="pixels, multiples of 32 (256 320)",
    )
    add(
        "--augment",
        action=argparse.BooleanOptionalAction,
        help="mirror, scale and crop training images",
    )
    add(
        "--measure-every",
        type=int,
        default=0,
        metavar="N",
        help="log average precision each N epochs",
    )
    add("--epochs", type=int, help="(%(default)s)")
    add("--batch-size", type=int, metavar="N", help="(%(default)s)")
    add("--learning-rate", type=float, metavar="RATE", help="(%(default)s)")
    add("--weight-decay", type=float, metavar="RATE", help="(%(default)s)")
    add("--seed", type=int, help="(%(default)s)")
    parser.set_defaults(**DEFAULTS)
    return parser


if __name__ == "__main__":
    command_line.run(main)
