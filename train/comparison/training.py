"""One run: a student trained under a seed, measured on what it never saw."""

import functools
import gc
import hashlib
import math
import os
import pathlib
import platform

import keras_distill as kd
from keras_distill import atomic
from train import optimization, run_folder
from train.comparison import plan, specification, trunk
from train.comparison.record import DIVERGED, DONE
from train.comparison.tasks import TASKS


class Diverged(Exception):
    """The loss, or what the student says, is no number any more."""


def run(job):
    """Trains and measures.

    Args:
        job: `plan.Job`.

    Returns:
        Dictionary for `Record.add`.
    """
    _code()  # Read before the training, while which files may change.
    try:
        return {"status": DONE, **_run(job), "machine": _machine()}
    except Diverged as error:
        return {"status": DIVERGED, "reason": str(error), "machine": _machine()}
    finally:
        gc.collect()  # Keras models are cycles, and the next run needs the memory.


def load(task, data):
    """The images to train on and those to measure on.

    Args:
        task: Name of a task.
        data: What `plan.data` returned.

    Returns:
        `(training, measured)`, both `ImageSet`.
    """
    return _load(task, *((name, _hashable(value)) for name, value in data.items()))


@functools.lru_cache(maxsize=2)
def _load(task, *data):
    return TASKS[task].load(**dict(data))


def describe(task, data, batch):
    """What a comparison says of its images.

    Args:
        task, data: See `load`.
        batch: `{"classes", "per_class"}`.

    Returns:
        Dictionary with `image_shape`, `steps_per_epoch`, `parts` and, for each part,
        its `classes`, `images` and `fingerprint`.
    """
    training, measured = load(task, data)
    kind = TASKS[task]
    where = kind.measured if data[kind.validated_by] is None else "validation"
    parts = {"training": training, where: measured}
    plan = kd.data.EpochPlan(training.labels, **batch)
    return {
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

    Raises:
        ValueError: If these methods cannot train this student.
    """
    import keras

    keras.backend.clear_session()
    teacher_dim = None
    if plan.TEACHER in settings:
        teacher_dim = _teacher_dim(settings, image_shape, classes)
    keras.utils.set_random_seed(seed)
    student = _student(settings, image_shape, classes)
    distiller = kd.Distiller(
        student,
        [specification.make(spec, teacher_dim) for spec in settings["methods"]],
        feature_layer=layer_path(settings, student, "features"),
    )
    distiller.compile(
        optimization.adamw(settings["steps"], **settings["optimizer"]),
        loss=TASKS[settings["task"]].make_loss(settings["loss"], classes),
    )
    return distiller


def layer_path(settings, student, layer):
    """Path of a layer of a student, which may enlarge its images before it is called.

    Args:
        settings: Those that it was built from.
        student: `keras.Model`.
        layer: Path within the model that the settings name.
    """
    if "image_size" not in settings["student"]:
        return layer
    return f"{student.layers[-1].name}/{layer}"


def _student(settings, image_shape, classes):
    import keras

    task, spec = TASKS[settings["task"]], {**settings["student"]}
    image_size = spec.pop("image_size", None)
    if image_size is None:
        return task.model(tuple(image_shape), classes, spec)
    height, width, channels = image_shape
    inner = task.model((image_size, image_size, channels), classes, spec)
    images = keras.Input((height, width, channels), name="image")
    resize = keras.layers.Resizing(image_size, image_size, name="enlarge")
    return keras.Model(images, inner(resize(images)), name=f"{inner.name}_enlarging")


def _teacher_dim(settings, image_shape, classes):
    """How many numbers the methods get from the teacher for an image."""
    teacher = settings[plan.TEACHER]
    (layer,) = specification.teacher_layers(settings["methods"])
    if layer is None:
        return TASKS[settings["task"]].width(classes, teacher["student"])
    model = _student(teacher, image_shape, classes)
    path = layer_path(teacher, model, layer)
    shape = kd.models.tap(model, [path]).output[path].shape
    if len(shape) != 2:
        raise ValueError(
            "A `teacher_layer` must give one row an image, of shape (batch, width): "
            "maps of features are not kept. "
            f"Received: teacher_layer={layer!r} of shape {tuple(shape)}"
        )
    return shape[-1]


def _run(job):
    import numpy as np

    from train.progress import Stopwatch

    settings = job.settings
    training, measured = load(settings["task"], job.data)
    classes = len(training.class_names)
    distiller = build(settings, training.image_shape, classes, job.seed)
    if job.trunk is not None:
        trunk.take(job.trunk["path"], distiller.student)
    history = distiller.fit(
        _batches(job, training),
        epochs=settings["epochs"],
        verbose=0,
        callbacks=[Stopwatch(), _stop_when_lost()],
    ).history
    student = distiller.student
    said, labels = kd.metrics.embed(student, measured)
    if not np.isfinite(said).all():
        raise Diverged("an output of the student is no number after training")
    figures = TASKS[settings["task"]].figures(said, labels)
    outcome = {
        "figures": {name: round(value, 6) for name, value in figures.items()},
        "seconds": round(sum(history.pop("seconds")), 2),
        "logs": {name: float(f"{v[-1]:.6g}") for name, v in history.items()},
        "parameters": student.count_params(),
    }
    if job.lessons is not None:
        outcome["teacher"] = job.lessons["weights"]
    if job.trunk is not None:
        outcome["trunk"] = job.trunk["weights"]
    if job.keep is not None:
        with atomic.file(job.keep) as temporary:
            student.save(temporary)
        outcome["weights"] = digest(student.get_weights())
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


def digest(weights):
    """Hexadecimal digest of a list of arrays, as `get_weights` returns it."""
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
        "code": _code(),
    }


@functools.cache
def _code():
    """Digest of the sources that make figures: versions stay while they change."""
    whole = hashlib.blake2b(digest_size=6)
    for folder in (pathlib.Path(kd.__file__).parent, pathlib.Path(__file__).parents[1]):
        names = {
            path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")
        }
        for name in sorted(names):
            text = names[name].read_text(encoding="utf-8")  # whatever the line ends
            whole.update(f"{folder.name}/{name}\0{text}\0".encode())
    return whole.hexdigest()


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value
