"""Measure the retrieval of a saved embedder, or what a saved detector finds."""

import json
import pathlib
import sys

import keras_distill as kd
from keras_distill import command_line
from train import detection_table, report, run_folder, saved_model

EXAMPLE = """\
python -m train.evaluate runs/glyphs/student.keras --data glyphs
python -m train.evaluate student.keras --data images --classes all --json
python -m train.evaluate runs/detector --data bccd --eval-split val"""


def main(argv=None):
    args = _parser().parse_args(argv)
    student = saved_model.load(args.student)
    if isinstance(student, kd.models.Detector):
        _detector(args, student)
        return
    if args.eval_split is not None:
        raise ValueError(
            "--eval-split is of detectors; say --eval-classes of an embedder. "
            f"Received: --eval-split {args.eval_split}"
        )
    height, width, channels = _image_shape(student, args.student)
    train, evaluation = kd.data.load(
        args.data,
        image_size=(height, width),
        eval_classes=args.eval_classes,
        channels=channels,
    )
    parts = {"evaluation": [evaluation], "train": [train], "all": [train, evaluation]}
    parts = parts[args.classes]
    measured = _measured(student, parts)
    classes = sum(len(images.class_names) for images in parts)
    count = sum(len(images) for images in parts)
    skipped = len({file for images in parts for file in images.skipped})
    if args.json:
        result = {
            "student": str(args.student),
            "data": args.data,
            "eval_classes": args.eval_classes,
            "part": args.classes,
            "classes": classes,
            "images": count,
            "skipped_images": skipped,
            **measured,
        }
        json.dump(result, sys.stdout, indent=2)
        print()
        return
    title = f"{args.student} on {count:,} images of {classes:,} classes of {args.data}"
    report.print_table(title, {args.classes: measured})
    print(f"{skipped} unreadable images skipped")


def _detector(args, student):
    """Average precision on the split that evaluates."""
    if args.eval_classes is not None or args.classes != "evaluation":
        raise ValueError(
            "--eval-classes and --classes are of embedders; say --eval-split of a "
            f"detector. Received: {args.student}, a {type(student).__name__}"
        )
    names = None
    if (args.student / "recipe.json").is_file():
        names = run_folder.read(args.student)["data"]["class_names"]
    size = student.image_shape[:2]
    _, boxes = kd.data.load_boxes(args.data, size, args.eval_split, names)
    if len(boxes.class_names) != student.num_classes:
        raise ValueError(
            f"The data must have the {student.num_classes} classes of the detector. "
            f"Received: {args.data} with {', '.join(boxes.class_names)}"
        )
    report = detection_table.plain(kd.metrics.detector_report(student, boxes))
    if args.json:
        result = {
            "student": str(args.student),
            "data": args.data,
            "eval_split": args.eval_split,
            "images": len(boxes),
            "skipped_images": len(boxes.skipped),
            "dropped_boxes": len(boxes.dropped),
            **report,
        }
        json.dump(result, sys.stdout, indent=2)
        print()
        return
    title = f"{args.student} on {len(boxes):,} images of {args.data}"
    detection_table.print_table(title, report)
    print(f"{len(boxes.skipped)} unusable images skipped")


def _image_shape(student, path):
    shape = getattr(student, "input_shape", None)
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            "The model must take images of one size, (height, width, channels). "
            f"Received: {path}, which takes {shape}"
        )
    return shape[1:]


def _measured(student, parts):
    """The report of the parts as one gallery: classes of different parts differ."""
    import numpy as np

    embed = kd.metrics.Embedder(student)
    embeddings, labels, classes = [], [], 0
    for images in parts:
        rows, own = embed(images)
        embeddings.append(rows)
        labels.append(own + classes)
        classes += len(images.class_names)
    return kd.metrics.retrieval_report(
        np.concatenate(embeddings), np.concatenate(labels)
    )


def _parser():
    parser = command_line.parser(
        "train.evaluate",
        "Measure how well a saved embedder retrieves (each image is searched among the "
        "others), or the average precision of a saved detector. The size of the images "
        "is that of the model.",
        "STUDENT --data NAME_OR_FOLDER [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("student", type=pathlib.Path, help="a .keras file or the folder of a run")
    add("--data", required=True, help="as in training: a folder or a name")
    add("--eval-split", metavar="NAME", help="of a detector: as in training")
    add("--eval-classes", nargs="+", metavar="GLOB", help="as in training")
    add(
        "--classes",
        choices=("evaluation", "train", "all"),
        default="evaluation",
        help="which classes to search among (%(default)s)",
    )
    add("--json", action="store_true", help="print JSON, figures in [0, 1]")
    return parser


if __name__ == "__main__":
    command_line.run(main)
