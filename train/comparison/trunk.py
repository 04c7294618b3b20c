"""The trunk that students begin with: trained once, before anything is compared.

The papers' students begin with a trunk trained on ImageNet. What a method is worth to a
trunk that can see already is another question than what it is worth from scratch.
"""

import json
import pathlib

from keras_distill import atomic
from train.comparison import plan
from train.comparison.record import DONE, fingerprint

LAST = "pooled"  # Behind it begins what belongs to the student alone.


def job(settings, data, folder):
    """The run that trains a trunk.

    Args:
        settings: Those under `"trunk"` in the settings of who begins with it.
        data: What `plan.trunk_data` returned.
        folder: Where its file shall be, which is named after its fingerprint.
    """
    own = {k: v for k, v in settings.items() if k not in ("path", "seed")}
    name = f"trunk-{fingerprint(own, settings['seed'])}.keras"
    path = str(pathlib.Path(folder) / name)
    return plan.Job(plan.TRUNK, plan.TRUNK, settings["seed"], own, data, keep=path)


def outcome(job):
    """How the trunk's training ended; `None` if its file is not on this machine."""
    try:
        text = _beside(job).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return json.loads(text) if pathlib.Path(job.keep).is_file() else None


def keep(job, outcome):
    """Takes down how its training ended, beside its file.

    Raises:
        ValueError: If nothing can begin with it.
    """
    if outcome["status"] != DONE:
        raise ValueError(
            "Nothing can begin with a trunk whose training failed. "
            f"Received: {outcome['status']}, {outcome['reason']}"
        )
    atomic.write_text(_beside(job), json.dumps(outcome, indent=2) + "\n")


def check(job, settings, record):
    """Refuses a trunk with which some runs of a record would begin, and not others.

    Args:
        job: Of the trunk.
        settings: What it was made of.
        record: `Record`.

    Raises:
        ValueError: If finished runs began with another training of it, or with one
            whose file is not on this machine.
    """
    ours = outcome(job)
    weights = ours and ours["weights"]
    others = [
        run["label"]
        for run in record.runs
        if run.get(plan.TRUNK) not in (None, weights)
        if record.settings[run["label"]].get(plan.TRUNK) == settings
    ]
    if others:
        raise ValueError(
            "Finished runs began with another training of the trunk than the one on "
            "this machine: copy its file and the JSON beside it there, or forget these "
            f"runs with --again: {'; '.join(dict.fromkeys(others))}. "
            f"Received: {job.keep}, {f'of weights {weights}' if ours else 'not there'}"
        )


def take(path, student):
    """Gives a student the weights of a trunk, up to the layer `pooled`.

    Args:
        path: Of the model that was trained.
        student: `keras.Model` of the same backbone.
    """
    import keras

    trained = keras.saving.load_model(path, compile=False)
    for theirs, own in zip(trained.layers, student.layers, strict=False):
        if own.name == LAST:
            return
        own.set_weights(theirs.get_weights())
    raise ValueError(
        f"A student that begins with a trunk needs a layer {LAST!r} behind it. "
        f"Received: {student.name}"
    )


def _beside(job):
    return pathlib.Path(job.keep).with_suffix(".json")
