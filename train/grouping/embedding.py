"""The embedder of a fold, where none is given: trained on its proxy classes."""

import math
import sys

import keras_distill as kd
from train import embedder, methods, optimization

IMAGE_SIZE = embedder.DEFAULTS["image_size"]
# What `train.embedder` would do, but for what the whole run has one of.
DEFAULTS = {
    name: value
    for name, value in embedder.DEFAULTS.items()
    if name not in ("image_size", "seed", "teacher_views")
}


def settings(options):
    """All options of the training.

    Args:
        options: Dictionary of those given.

    Raises:
        ValueError: If one is unknown; the known ones are listed.
    """
    unknown = [name for name in options if name not in DEFAULTS]
    if unknown:
        raise ValueError(
            f"Unknown option of the embedder. Expected some of {', '.join(DEFAULTS)}. "
            f"Received: {', '.join(unknown)}"
        )
    return {**DEFAULTS, **options}


def train(images, options, seed):
    """Trains an embedder as `train.embedder` does.

    Args:
        images: `ImageSet` of the proxy classes, shown clean but for the augmentation:
            most embedders have not been trained for what befalls groups.
        options: What `settings` returned. `classes_per_batch` is brought down to the
            classes there are.
        seed: Integer.

    Returns:
        `keras.Model`.
    """
    import keras

    from train.progress import EpochLine, Stopwatch

    keras.utils.set_random_seed(seed)
    classes = len(images.class_names)
    augment = kd.layers.RandomAffine(**optimization.AFFINE)
    batches = kd.data.class_balanced(
        images,
        classes=min(options["classes_per_batch"], classes),
        per_class=options["images_per_class"],
        augment=augment if options["augment"] else None,
        seed=seed,
    )
    steps = int(batches.cardinality())
    epochs = options["epochs"] or math.ceil(embedder.STEPS / steps)
    student = kd.models.embedder(
        options["backbone"], images.image_shape, options["dim"]
    )
    distiller = kd.Distiller(student, methods.make(options["method"], {}))
    distiller.compile(
        optimization.adamw(
            epochs * steps, options["learning_rate"], options["weight_decay"]
        ),
        loss=kd.losses.get(options["loss"], num_classes=classes),
    )
    terminal = sys.stdout.isatty()
    an_epoch = steps * options["images_per_class"]
    an_epoch *= min(options["classes_per_batch"], classes)
    print(f"Embedder: {epochs:,} epochs of {steps:,} steps", flush=True)
    distiller.fit(
        batches,
        epochs=epochs,
        verbose=1 if terminal else 0,
        callbacks=[Stopwatch()] + ([] if terminal else [EpochLine(an_epoch)]),
    )
    return distiller.student
