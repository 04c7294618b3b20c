"""One run: a student trained under a seed, measured on classes it never saw."""

import functools
import gc
import math
import os
import platform

import keras_distill as kd
from train import optimization, run_folder
from train.comparison import specification
from train.comparison.record import DIVERGED, DONE

KS = (1, 2, 4, 8)


class Diverged(Exception):
    """The loss, or an embedding, is no number any more."""


def run(job):
    """Trains and measures.

    Args:
        job: `plan.Job`.

    Returns:
        Dictionary for `Record.add`.
    """
    try:
        return {"status": DONE, **_run(job), "machine": _machine()}
    except Diverged as error:
        return {"status": DIVERGED, "reason": str(error), "machine": _machine()}
    finally:
        gc.collect()  # Keras models are cycles, and the next run needs the memory.


def load(data):
    """The images to train on and those to measure on.

    Args:
        data: Dictionary of `path`, `image_size`, `eval_classes` and
            `validation_classes`. With these globs, a part of the training classes
            takes the place of the evaluation classes, which are let go at once.

    Returns:
        `(training, evaluation)`, both `ImageSet`.
    """
    return _load(
        data["path"],
        data["image_size"],
        _hashable(data["eval_classes"]),
        _hashable(data["validation_classes"]),
    )


@functools.lru_cache(maxsize=2)
def _load(path, image_size, eval_classes, validation_classes):
    training, evaluation = kd.data.load(path, image_size, eval_classes)
    if validation_classes is None:
        return training, evaluation
    del evaluation
    return kd.data.class_split(training, validation_classes)


def describe(data, batch):
    """What a comparison says of its images.

    Args:
        data: See `load`.
        batch: `{"classes", "per_class"}`.

    Returns:
        Dictionary with `name`, `image_shape`, `steps_per_epoch`, `parts` and, for each
        part, its `classes`, `images` and `fingerprint`.
    """
    training, measured = load(data)
    where = "evaluation" if data["validation_classes"] is None else "validation"
    parts = {"training": training, where: measured}
    plan = kd.data.EpochPlan(training.labels, **batch)
    return {
        "name": training.name,
        "image_shape": list(training.image_shape),
        "steps_per_epoch": plan.steps,
        "parts": list(parts),
        **{
            part: {
                "classes": len(images.class_names),
                "images": len(images),
                "fingerprint": images.fingerprint(),
            }
            for part, images in parts.items()
        },
    }


def build(settings, image_shape, classes, seed):
    """The student and its distiller, compiled.

    The student's weights are the first that the seed draws, before those of any
    method: all methods begin with the same student.

    Args:
        settings: See `plan.settings`.
        image_shape: `(height, width, channels)`.
        classes: Number of training classes.
        seed: Integer.

    Returns:
        A `keras_distill.Distiller`.
    """
    import keras

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    student = kd.models.embedder(image_shape=tuple(image_shape), **settings["student"])
    distiller = kd.Distiller(
        student, methods=[specification.make(spec) for spec in settings["methods"]]
    )
    distiller.compile(
        optimization.adamw(settings["steps"], **settings["optimizer"]),
        loss=specification.make_loss(settings["loss"], classes),
    )
    return distiller


def _run(job):
    import numpy as np

    from train.progress import Stopwatch

    settings = job.settings
    training, measured = load(job.data)
    classes = len(training.class_names)
    distiller = build(settings, training.image_shape, classes, job.seed)
    batches = kd.data.class_balanced(
        training,
        **settings["batch"],
        augment=specification.make_augment(settings["augment"]),
        seed=job.seed,
    )
    history = distiller.fit(
        batches,
        epochs=settings["epochs"],
        verbose=0,
        callbacks=[Stopwatch(), _stop_when_lost()],
    ).history
    embeddings, labels = kd.metrics.embed(distiller.student, measured)
    if not np.isfinite(embeddings).all():
        raise Diverged("an embedding is no number after training")
    figures = kd.metrics.retrieval_report(embeddings, labels, ks=KS, nmi=False)
    return {
        "figures": {name: round(value, 6) for name, value in figures.items()},
        "seconds": round(sum(history.pop("seconds")), 2),
        "logs": {name: float(f"{v[-1]:.6g}") for name, v in history.items()},
        "parameters": distiller.student.count_params(),
    }


def _stop_when_lost():
    import keras

    def check(epoch, logs):
        if not math.isfinite(logs["loss"]):
            raise Diverged(f"loss {logs['loss']} in epoch {epoch + 1}")

    return keras.callbacks.LambdaCallback(on_epoch_end=check)


def _machine():
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    # What it was started with; TensorFlow itself only tells what was set later.
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0))
    return {
        **run_folder.versions(),
        "device": names[0].get("device_name", "GPU") if gpus else platform.machine(),
        "threads": threads or os.cpu_count(),
    }


def _hashable(globs):
    return None if globs is None else tuple(globs)
