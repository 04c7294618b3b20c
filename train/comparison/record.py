"""The figures of every run that has ended: one JSON file, written after each."""

import contextlib
import hashlib
import json
import math
import os
import pathlib

from keras_distill import atomic

DONE, DIVERGED, BROKEN = "done", "diverged", "broken"


class Record:
    """`runs.json`: what was measured, and under which settings.

    A run is a dictionary with `label`, `method`, `seed`, `status`, a
    `fingerprint` of settings and seed, and: of one that is `"done"`, `figures`,
    `seconds` of training, `logs` of the last epoch; of one that `"diverged"` (its loss
    left the numbers) or is `"broken"` (anything else ended it), the `reason`. Broken
    runs are run again by the next call. In `logs`, `null` is what is no finite number.

    Args:
        path: Of the file, which need not be there yet.

    Attributes:
        head: Dictionary of what holds for all runs.
        settings: Dictionary from labels to the settings of their runs.
        runs: List of dictionaries, in the order in which they ended.

    Raises:
        ValueError: If the file is no record, or was changed by hand.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.head, self.settings, self.runs = {}, {}, []
        if self.path.exists():
            self._read()

    def adopt(self, label, settings):
        """Takes the settings of the runs to come; those of runs that are there stay.

        Raises:
            ValueError: If runs were made under other settings; it says what changed.
        """
        settings = json.loads(json.dumps(settings))
        was = self.settings.setdefault(label, settings)
        changed = changes(was, settings)
        if changed and not self.ended(label, DONE, DIVERGED):
            self.runs = [run for run in self.runs if run["label"] != label]
            self.settings[label] = settings
        elif changed:
            raise ValueError(
                f"{label!r} has runs in {self.path} that were made under other "
                "settings. Change the recipe back, give it another name, or forget "
                f"these runs: --again {label!r}. "
                f"Received: {'; '.join(changed)}"
            )

    def has(self, job):
        """Whether there is nothing to run for a job any more."""
        return any(
            run["label"] == job.label and run["seed"] == job.seed
            for run in self.runs
            if run["status"] != BROKEN
        )

    def add(self, job, outcome):
        """Takes down how a run ended, in place of a broken one, and writes the file.

        Args:
            job: `plan.Job`.
            outcome: Dictionary with `status` and what belongs to it.
        """
        self.runs = [
            run
            for run in self.runs
            if (run["label"], run["seed"]) != (job.label, job.seed)
        ]
        run = {
            "label": job.label,
            "method": job.method,
            "seed": job.seed,
            **outcome,
            "fingerprint": fingerprint(self.settings[job.label], job.seed),
        }
        if "logs" in run:  # A part of the loss that is only looked at may be anything.
            run["logs"] = {
                name: value if math.isfinite(value) else None
                for name, value in run["logs"].items()
            }
        self.runs.append(run)
        self.write()

    def forget(self, name):
        """Drops the runs of a method, or of a label alone; returns how many."""
        kept = [run for run in self.runs if name not in (run["method"], run["label"])]
        dropped = len(self.runs) - len(kept)
        self.runs = kept
        return dropped

    def write(self):
        """Writes the file, with one line for each run."""
        labels = {run["label"] for run in self.runs}
        whole = {
            **self.head,
            "settings": {k: v for k, v in self.settings.items() if k in labels},
            "runs": [],
        }
        text = json.dumps(whole, indent=2, allow_nan=False)
        if self.runs:
            lines = [json.dumps(run, allow_nan=False) for run in self.runs]
            text = text.removesuffix("[]\n}") + "[\n    " + ",\n    ".join(lines)
            text += "\n  ]\n}"
        atomic.write_text(self.path, text + "\n")

    def figures(self, label, name):
        """Dictionary from seeds to one figure of the finished runs of a label."""
        return {
            run["seed"]: run["figures"][name]
            for run in sorted(self.runs, key=lambda run: run["seed"])
            if run["label"] == label and run["status"] == DONE
        }

    def ended(self, label, *statuses):
        """The runs of a label that ended so."""
        return [
            run
            for run in self.runs
            if run["label"] == label and run["status"] in statuses
        ]

    def _read(self):
        try:
            whole = json.loads(self.path.read_text(encoding="utf-8"))
            self.settings, self.runs = whole.pop("settings"), whole.pop("runs")
            self.head = whole
            for run in self.runs:
                wanted = fingerprint(self.settings[run["label"]], run["seed"])
                if run["fingerprint"] != wanted:
                    raise ValueError(
                        f"the settings are not those of {run['label']!r}, "
                        f"seed {run['seed']}"
                    )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                "The results must be as the program wrote them: remove the file to "
                f"begin anew. Received: {self.path} ({error})"
            ) from None


def fingerprint(settings, seed):
    """Hexadecimal digest of everything that determines a run."""
    text = json.dumps([settings, seed], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@contextlib.contextmanager
def alone(folder):
    """Holds a folder against a second program that would write the same results.

    Raises:
        ValueError: If there is one.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: nothing holds a folder there.
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # The system lets go of it when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(
            "Another train.compare is writing there: wait for it, or let it run with "
            f"--jobs. Received: {folder}"
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def changes(was, now):
    """What differs between two settings, as a list of `path (was x, now y)`.

    A class may get an argument after runs were made: at its default it is no change.
    """
    return list(_changes(was, now, ""))


def _changes(was, now, path):
    if isinstance(was, dict) and isinstance(now, dict):
        for key in {**was, **now}:
            inner = f"{path}.{key}" if path else key
            if key in was:
                yield from _changes(was[key], now.get(key), inner)
            elif not _is_default(now, key):
                yield f"{inner} (was not there, now {json.dumps(now[key])})"
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _changes(one, other, f"{path}[{number}]")
    elif was != now:
        yield f"{path} (was {json.dumps(was)}, now {json.dumps(now)})"


def _is_default(spec, key):
    from train.comparison import specification  # Workers read records without Keras.

    defaults = specification.defaults(spec["class"]) if "class" in spec else {}
    return key in defaults and defaults[key] == spec[key]
