"""The teacher of a comparison: trained once, asked once."""

import pathlib
import shutil

import keras_distill as kd
from train.comparison import plan, specification, training
from train.comparison.record import BROKEN, DIVERGED, DONE, fingerprint


def job(recipe, images, data, folder):
    """The run that trains the teacher.

    Args:
        recipe: `Recipe` with a teacher.
        images: What `training.describe` returned.
        data: See `plan.Job`.
        folder: Where its file shall be, which is named after its fingerprint: another
            teacher is another file.
    """
    settings = plan.teacher_settings(recipe, images)
    seed = recipe.teacher["seed"]
    path = pathlib.Path(folder) / f"teacher-{fingerprint(settings, seed)}.keras"
    return plan.Job(plan.TEACHER, plan.TEACHER, seed, settings, data, keep=str(path))


def is_there(job, record):
    """Whether the teacher has been trained, and its file is on this machine."""
    return record.has(job) and pathlib.Path(job.keep).is_file()


def forget_lessons(job):
    """Removes what an earlier teacher of that name said."""
    shutil.rmtree(_folder(job), ignore_errors=True)


def lessons(job, record, views, layer=None):
    """Asks the teacher about every view of every training image, once.

    Args:
        job: Of a teacher that `is_there`.
        record: `Record`.
        views: `settings["views"]` of those who learn from it.
        layer: What they learn from: one of its layers, `None` for its output.

    Returns:
        Dictionary for `plan.Job.lessons`.

    Raises:
        ValueError: If the teacher's training diverged.
    """
    import keras

    (run,) = record.ended(plan.TEACHER, DONE, DIVERGED, BROKEN)
    if run["status"] != DONE:
        raise ValueError(
            "Nothing can be learned from a teacher whose training failed. "
            f"Received: {run['status']}, {run['reason']}"
        )
    images, _ = training.load(job.settings["task"], job.data)
    augment = specification.make_augment(job.settings["augment"])
    teacher = keras.saving.load_model(job.keep, compile=False)
    if layer is not None:
        path = training.layer_path(job.settings, teacher, layer)
        tapped = kd.models.tap(teacher, [path])
        teacher = keras.Model(tapped.input, tapped.output[path], name="teacher_layer")
    folder = _folder(job) / (layer or "output").replace("/", ".")
    kd.data.cache_embeddings(
        teacher, images, folder, views=kd.data.FixedViews(augment, **views)
    )
    return {"folder": str(folder), "weights": run["weights"]}


def _folder(job):
    return pathlib.Path(job.keep).with_suffix("")
