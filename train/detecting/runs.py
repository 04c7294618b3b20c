"""One run of `train.detector`, in a process of its own, and what came of it."""

import json
import signal
import subprocess
import sys

from train import run_folder
from train.comparison.record import DONE

# Of the many figures of a run, those that a comparison keeps.
FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar")
LOG = "log.txt"


def run(job):
    """Trains and measures what is not there yet; goes on with what is unfinished.

    Args:
        job: `plan.Job`.

    Returns:
        Dictionary for `Record.add`.

    Raises:
        RuntimeError: If the program ended otherwise than well, with its last line.
    """
    if not is_finished(job.folder):
        _train(job)
    return outcome(job)


def is_finished(folder):
    """Whether a run is there and has ended."""
    return (folder / "metrics.json").is_file() and (folder / "student.keras").is_file()


def outcome(job):
    """What a finished run measured, as a dictionary for `Record.add`."""
    metrics = json.loads((job.folder / "metrics.json").read_text())
    recipe = run_folder.read(job.folder)
    report = metrics["last"]["evaluation"]
    found = {
        "status": DONE,
        "figures": {
            name: round(report[name], 6)
            for name in FIGURES
            if report[name] is not None  # there are no boxes of that size
        },
        "classes": {k: round(v["ap"], 6) for k, v in report["classes"].items()},
        "seconds": round(metrics["training"]["seconds"], 1),
        "parameters": recipe["resolved"]["weights"],
        "machine": recipe["versions"],
        "images": {k: recipe["data"][k] for k in ("train", "evaluation")},
    }
    # Which weights it began with and which taught it: their files may be made anew.
    return {**found, **{k: recipe["data"].get(k) for k in ("start", "teacher")}}


def _train(job):
    begun = (job.folder / "recipe.json").is_file()
    how = ["--resume"] if begun else []
    log = job.folder.parent / f"{job.folder.name}.{LOG}"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "train.detector", *job.arguments, *how]
    with log.open("a", encoding="utf-8") as file:
        code = call(command, file)
    if code:
        said = log.read_text(encoding="utf-8").split("\n")
        last = next((line for line in reversed(said) if line.strip()), "nothing")
        raise RuntimeError(f"train.detector ended with {code}: {last}")


def call(command, file):
    """The exit status of a program, which ends with this process.

    Args:
        command: List of strings.
        file: Open file that takes what it prints.
    """

    def end(*_):
        raise SystemExit(143)  # `run` kills what it waits for, on its way out.

    # A worker is ended by SIGTERM: what it started would go on, and write where the
    # next call of the program writes.
    before = signal.signal(signal.SIGTERM, end)
    try:
        return subprocess.run(command, stdout=file, stderr=file).returncode
    finally:
        signal.signal(signal.SIGTERM, before)
