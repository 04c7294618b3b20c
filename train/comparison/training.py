"""One run: a student trained under a seed, measured on classes it never saw."""

import functools
import gc
import hashlib
import math
import os
import platform

import keras_distill as kd
from keras_distill import atomic
from train import optimization, run_folder
from train.comparison import plan, specification
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
    student, features = _student(image_shape, **settings["student"])
    teacher_dim = None
    if plan.TEACHER in settings:
        teacher_dim = settings[plan.TEACHER]["student"]["dim"]
    distiller = kd.Distiller(
        student,
        [specification.make(spec, teacher_dim) for spec in settings["methods"]],
        feature_layer=features,
    )
    distiller.compile(
        optimization.adamw(settings["steps"], **settings["optimizer"]),
        loss=specification.make_loss(settings["loss"], classes),
    )
    return distiller


def _student(image_shape, backbone, dim, image_size=None):
    """An embedder, and the path of its feature layer.

    Args:
        image_size: Pixels that it enlarges its images to before it looks at them.
    """
    import keras

    height, width, channels = image_shape
    if image_size is None:
        return kd.models.embedder(backbone, (height, width, channels), dim), "features"
    inner = kd.models.embedder(backbone, (image_size, image_size, channels), dim)
    images = keras.Input((height, width, channels), name="image")
    resize = keras.layers.Resizing(image_size, image_size, name="enlarge")
    student = keras.Model(images, inner(resize(images)), name=f"{inner.name}_enlarging")
    return student, f"{inner.name}/features"


def _run(job):
    import numpy as np

    from train.progress import Stopwatch

    settings = job.settings
    training, measured = load(job.data)
    classes = len(training.class_names)
    distiller = build(settings, training.image_shape, classes, job.seed)
    history = distiller.fit(
        _batches(job, training),
        epochs=settings["epochs"],
        verbose=0,
        callbacks=[Stopwatch(), _stop_when_lost()],
    ).history
    student = distiller.student
    embeddings, labels = kd.metrics.embed(student, measured)
    if not np.isfinite(embeddings).all():
        raise Diverged("an embedding is no number after training")
    figures = kd.metrics.retrieval_report(embeddings, labels, ks=KS, nmi=False)
    outcome = {
        "figures": {name: round(value, 6) for name, value in figures.items()},
        "seconds": round(sum(history.pop("seconds")), 2),
        "logs": {name: float(f"{v[-1]:.6g}") for name, v in history.items()},
        "parameters": student.count_params(),
    }
    if job.lessons is not None:
        outcome["teacher"] = job.lessons["weights"]
    if job.keep is not None:
        with atomic.file(job.keep) as temporary:
            student.save(temporary)
        outcome["weights"] = _digest(student.get_weights())
    return outcome


def _batches(job, images):
    settings = job.settings
    augment = specification.make_augment(settings["augment"])
    lessons = {}
    if "views" in settings:
        augment = kd.data.FixedViews(augment, **settings["views"])
    if job.lessons is not None:
        lessons["teacher"] = kd.data.TeacherCache(job.lessons["folder"])
    return kd.data.class_balanced(
        images, **settings["batch"], augment=augment, seed=job.seed, **lessons
    )


def _digest(weights):
    whole = hashlib.blake2b(digest_size=8)
    for weight in weights:
        whole.update(weight.tobytes())
    return whole.hexdigest()


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
