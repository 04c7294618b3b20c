"""Export the detector of a run of `train.detector`."""

import keras_distill as kd

MAX_DROP = 1.0
# What is said of catalogues, embeddings and groups, which a detector has none of.
OF_EMBEDDERS = (
    "catalogue",
    "eval_classes",
    "whole",
    "per_class",
    "scorer",
    "keep",
    "thumbnails",
    "recall",
    "neighbours",
    "false_match_rate",
    "task_library",
)


def export(args, run, parser, progress):
    """Writes the bundle of a detector.

    It is measured on the images that the run was measured on.

    Args:
        args: Arguments of `export.bundle`.
        run: A `FinishedRun` whose student is a detector.
        parser: The parser of the arguments, for their defaults.
        progress: See `keras_distill.retrieval.write_detector_bundle`.

    Returns:
        The manifest, a dictionary.

    Raises:
        ValueError: If an argument is of embedders, or the detector has two stages.
    """
    foreign = [
        f"--{name.replace('_', '-')}"
        for name in OF_EMBEDDERS
        if getattr(args, name) != parser.get_default(name)
    ]
    if foreign:
        raise ValueError(
            "These are of embedders, this is a run of a detector: leave them out. "
            f"Received: {args.run}, {', '.join(foreign)}"
        )
    detector, recipe = run.student, run.recipe
    if not isinstance(detector, kd.models.RetinaNet):
        raise ValueError(
            "Only RetinaNet is exported: the proposals between the two stages of "
            "Faster R-CNN are no operators of TensorFlow Lite. "
            f"Received: {args.run}, a {type(detector).__name__}"
        )
    train, evaluation = kd.data.load_boxes(
        recipe["arguments"]["data"],
        detector.image_shape[:2],
        recipe["arguments"].get("eval_split"),
        recipe.get("data", {}).get("class_names"),
    )
    return kd.retrieval.write_detector_bundle(
        args.out,
        detector,
        train,
        evaluation,
        recipe,
        args.overwrite,
        args.score,
        MAX_DROP if args.max_drop is None else args.max_drop,
        runtimes=args.runtime,
        progress=progress,
    )
