"""The teacher of a comparison: trained once, asked once."""

import pathlib
import shlex
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


def check(job, record):
    """Refuses a teacher that would teach some students of a record, and not others.

    Args:
        job: Of the teacher.
        record: `Record`.

    Raises:
        ValueError: If the record has one of another seed; if finished students learned
            from one that would have to be trained anew.
    """
    seeds = [run["seed"] for run in record.ended(plan.TEACHER, DONE, DIVERGED)]
    if seeds and job.seed not in seeds:
        raise ValueError(
            f"{plan.TEACHER!r} has a run in {record.path} of another seed. Change the "
            "recipe back, give it another name, or forget this run: --again "
            f"{plan.TEACHER}. Received: seed (was {seeds[-1]}, now {job.seed})"
        )
    if not record.has(job):
        refuse_orphans(record)
    learned = _learned(record, "label")
    if learned and not is_there(job, record):
        raise ValueError(
            "Finished students learned from a teacher whose file is not on this "
            "machine: copy it there, or let all of them learn from a new one: "
            f"--again {shlex.join(learned)}. Received: no file {job.keep}"
        )


def refuse_orphans(record):
    """Raises ValueError if finished students learned from a teacher not recorded."""
    learned = _learned(record, "method")
    if learned and not record.ended(plan.TEACHER, DONE, DIVERGED):
        raise ValueError(
            "A new teacher teaches all students: let those that learned from the "
            f"former one be run again too: --again {plan.TEACHER} "
            f"{shlex.join(learned)}. Received: their runs in {record.path}"
        )


def _learned(record, key):
    """Who has learned from the teacher, by label or by method."""
    return list(
        dict.fromkeys(
            run[key]
            for run in record.runs
            if "teacher" in run and run["label"] != plan.TEACHER
        )
    )


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
        ValueError: If the teacher's training diverged; if its file holds other weights
            than those that were recorded.
    """
    import keras

    (run,) = (
        run
        for run in record.ended(plan.TEACHER, DONE, DIVERGED, BROKEN)
        if run["seed"] == job.seed
    )
    if run["status"] != DONE:
        raise ValueError(
            "Nothing can be learned from a teacher whose training failed. "
            f"Received: {run['status']}, {run['reason']}"
        )
    images, _ = training.load(job.settings["task"], job.data)
    augment = specification.make_augment(job.settings["augment"])
    teacher = keras.saving.load_model(job.keep, compile=False)
    if training.digest(teacher.get_weights()) != run["weights"]:
        raise ValueError(
            "The teacher must be the one that was recorded: bring its file back, or "
            f"train another: --again {plan.TEACHER}. Received: {job.keep}, with other "
            f"weights than {record.path} says"
        )
    if layer is not None:
        path = training.layer_path(job.settings, teacher, layer)
        tapped = kd.models.tap(teacher, [path])
        teacher = keras.Model(tapped.input, tapped.output[path], name="teacher_layer")
    what = (layer or "output").replace("/", ".")
    folder = _folder(job) / f"{what}-{views['count']}-views-seed-{views['seed']}"
    kd.data.cache_embeddings(
        teacher, images, folder, views=kd.data.FixedViews(augment, **views)
    )
    return {"folder": str(folder), "weights": run["weights"]}


def _folder(job):
    return pathlib.Path(job.keep).with_suffix("")
