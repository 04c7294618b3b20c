"""What a run of `train.detector` trains, of what its arguments name."""

import pathlib

import keras_distill as kd
from train import detector_sizes, methods, run_folder, saved_model


def load(path, args):
    """A detector of the asked kind, from a run or a file."""
    model, wanted = saved_model.load(path), detector_sizes.CLASSES[args.detector]
    if not isinstance(model, getattr(kd.models, wanted)):
        raise ValueError(
            f"The model must be a {wanted}, as --detector says. "
            f"Received: {path}, a {type(model).__name__}"
        )
    return model


def refuse_other_classes(flag, path, model, boxes):
    """Raises ValueError unless a model knows the classes of the data, in their order.

    A file alone does not say which classes it knows; a run does.
    """
    if model is None:
        return
    names, known = list(boxes.class_names), model.num_classes
    if (pathlib.Path(path) / "recipe.json").is_file():
        known = run_folder.read(path)["data"]["class_names"]
    if known not in (names, len(names)):
        raise ValueError(
            f"The model must know the {len(names)} classes of the data, "
            f"{', '.join(names)}. Received: {flag} {path}, which knows {known}"
        )


def make_student(args, start, boxes):
    """The detector that is trained: fresh, or as another run left it."""
    shape = boxes.image_shape
    if start is None:
        return detector_sizes.build(
            args.detector, args.role, shape, len(boxes.class_names), args.seed
        )
    if start.image_shape != shape:
        raise ValueError(
            f"What a run starts with must take images of {shape}, as --image-size "
            f"says. Received: --start {args.start}, which takes {start.image_shape}"
        )
    return kd.models.frozen_statistics(start) if args.freeze_statistics else start


def make_model(args, student, teacher):
    """What `fit` trains, and the options of its method."""
    options = methods.options(args.method_options)
    if teacher is None:
        return student, None
    if args.method == "global_knowledge":
        options = {**_global_knowledge(args, student, teacher), **options}
    terms = methods.make(args.method, options, teacher=True)
    distiller = kd.Distiller(student, methods=terms, teacher=teacher)
    return distiller, methods.with_defaults(args.method, options)


def refreshes(args, model, boxes):
    """Callbacks that choose prototypes from images as they are.

    From the training data they would be chosen of other augmentations each time, with
    the teacher asked anew; and each look is an iteration, which moves the epochs of
    `box_batches` on: a resumed run would meet others than one that was not stopped.
    """
    return [
        kd.callbacks.PrototypeRefresh(
            method,
            kd.data.box_batches(
                boxes, args.batch_size, seed=args.seed, reshuffle=False
            ),
        )
        for method in getattr(model, "methods", ())
        if isinstance(method, kd.methods.GlobalKnowledge)
    ]


def _global_knowledge(args, student, teacher):
    """What the method has to be told of these detectors."""
    one_stage = args.detector == "retinanet"
    return {
        "num_classes": student.num_classes,
        "instances": "boxes",
        "student_layer": student.pyramid.name,
        "teacher_layer": teacher.pyramid.name,
        "soft_labels": "class_logits" if one_stage else "classify",
        # The authors' rules: of one stage and of two; and of images of 800 pixels.
        "level_reduction": "sum" if one_stage else "mean",
        "level_base": 56.0 * min(student.image_shape[:2]) / 800,
    }
