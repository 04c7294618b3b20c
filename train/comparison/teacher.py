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


def lessons(job, record, views):
    """Asks the teacher about every view of every training image, once.

    Args:
        job: Of a teacher that `is_there`.
        record: `Record`.
        views: `settings["views"]` of those who learn from it.

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
    images, _ = training.load(job.data)
    augment = specification.make_augment(job.settings["augment"])
    kd.data.cache_embeddings(
        keras.saving.load_model(job.keep, compile=False),
        images,
        _folder(job),
        views=kd.data.FixedViews(augment, **views),
    )
    return {"folder": str(_folder(job)), "weights": run["weights"]}


def _folder(job):
    return pathlib.Path(job.keep).with_suffix("")
