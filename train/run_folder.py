"""The folder a training program fills: begun, gone on with, finished.

recipe.json    every argument, versions, seed, data: written when the run begins
backup/        what `--resume` needs; gone when the run ends
metrics.json   written last: a folder that has it is a finished run
"""

import importlib.metadata
import json
import pathlib
import platform
import shutil
import sys

from keras_distill import atomic, version

# What may differ between a run and its resumption.
FREE = ("out", "resume", "overwrite", "teacher_cache")
PACKAGES = ("keras", "tensorflow", "numpy")


def plain_arguments(args):
    """The arguments of a program as `recipe.json` keeps them: paths as strings.

    Args:
        args: `argparse.Namespace`.
    """
    return {
        name: str(value) if isinstance(value, pathlib.Path) else value
        for name, value in vars(args).items()
    }


def check(out, arguments, resume=False, overwrite=False):
    """Says what may be done with `out`, before anything costly is done.

    Args:
        out: Path of the run folder.
        arguments: Dictionary of every argument of the program.
        resume: Whether an unfinished run may be gone on with.
        overwrite: Whether a run that is there may be replaced.

    Returns:
        `"new"`, `"unfinished"` or `"finished"`.

    Raises:
        ValueError: If both flags are given; if something is there and neither is;
            if what is there is not a run, or was begun with other arguments.
        FileNotFoundError: If there is nothing to resume.
    """
    out = pathlib.Path(out)
    there = out.exists() and (not out.is_dir() or any(out.iterdir()))
    is_run = (out / "recipe.json").is_file()
    if resume and overwrite:
        raise ValueError("Choose one of --resume and --overwrite. Received: both")
    if resume and not is_run:
        raise FileNotFoundError(
            f"There is no run to resume: leave --resume out. Received: --out {out}"
        )
    if there and not is_run:
        raise ValueError(
            "The folder holds something else than a run, which is left alone: "
            f"choose another. Received: --out {out}"
        )
    if overwrite or not there:
        return "new"
    if not resume:
        raise ValueError(
            "There is a run already: go on with it (--resume), replace it "
            f"(--overwrite) or choose another folder. Received: --out {out}"
        )
    _check_same(read(out)["arguments"], arguments)
    return "finished" if (out / "metrics.json").is_file() else "unfinished"


def begin(out, arguments, data, resolved):
    """Empties the folder and writes the recipe, which is returned as well.

    Args:
        out: Path of the run folder, which `check` called `"new"`.
        arguments: Dictionary of every argument of the program.
        data: Dictionary that says which images these are.
        resolved: Dictionary of what the program made of arguments left open.
    """
    out = pathlib.Path(out)
    if out.exists():
        shutil.rmtree(out)
    (out / "backup").mkdir(parents=True)
    recipe = {
        "command": ["python", "-m", *_command()],
        "arguments": arguments,
        "resolved": resolved,
        "seed": arguments["seed"],
        "versions": versions(),
        "data": data,
    }
    atomic.write_text(out / "recipe.json", json.dumps(recipe, indent=2) + "\n")
    return recipe


def versions():
    """Dictionary from Python and each package that makes a figure to its version."""
    return {
        "python": platform.python_version(),
        "keras_distill": version.__version__,
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def check_data(out, data):
    """Refuses to go on with a run on other images than it was begun with.

    Raises:
        ValueError: If the data set is not the one the recipe names.
    """
    was = read(out)["data"]
    if was != data:
        changed = [name for name in data if data[name] != was.get(name)]
        raise ValueError(
            "The data have changed since the run was begun: start anew with "
            f"--overwrite. Received: another {', '.join(changed)}"
        )


def read(out):
    """The recipe of a run, as a dictionary."""
    return json.loads((pathlib.Path(out) / "recipe.json").read_text())


def finish(out, metrics):
    """Writes `metrics.json`, which makes the run a finished one; drops the backup."""
    out = pathlib.Path(out)
    atomic.write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    shutil.rmtree(out / "backup", ignore_errors=True)


def _command():
    """The module and the arguments this process was started with."""
    program = pathlib.Path(sys.argv[0])
    return [f"{program.parent.name}.{program.stem}", *sys.argv[1:]]


def _check_same(was, now):
    was, now = (
        {name: value for name, value in some.items() if name not in FREE}
        for some in (was, json.loads(json.dumps(now)))
    )
    changed = [
        f"{name} (was {was.get(name)!r}, now {now.get(name)!r})"
        for name in {**was, **now}
        if was.get(name) != now.get(name)
    ]
    if changed:
        raise ValueError(
            "A run is resumed with the arguments it was begun with: give the same, "
            f"or start anew with --overwrite. Received: another {', '.join(changed)}"
        )
