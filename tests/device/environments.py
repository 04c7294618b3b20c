"""Environments without TensorFlow, one for each runtime or client, made once and kept.

They lie beside `.venv` at the root of the repository; remove them to make them anew.
"""

import functools
import json
import os
import shutil
import subprocess
import sys

import filelock
import pytest

from tests.conftest import ROOT

REQUIREMENTS = {
    "ai-edge-litert": ["ai-edge-litert>=2.3", "numpy>=2,<3", "pillow>=10.1"],
    "tflite-runtime": ["tflite-runtime==2.14.0", "numpy<2", "pillow>=10.1"],
}
# Libraries that open our files by themselves. Without what they never import for
# images, and with the headless OpenCV, they are made in half the time.
CLIENTS = {
    "mediapipe": [
        "--no-deps",
        "mediapipe==1.2.2",
        "absl-py>=2.3",
        "flatbuffers>=25",
        "numpy>=2,<3",
        "opencv-python-headless>=4.10",
        # It imports its drawings with everything else.
        "matplotlib>=3.8",
        "certifi",
        "contourpy",
        "cycler",
        "fonttools",
        "kiwisolver",
        "packaging",
        "pillow>=10.1",
        "pyparsing",
        "python-dateutil",
        "six",
    ],
    "tflite-support": [
        "--no-deps",
        "tflite-support==0.4.4",
        "absl-py>=2.1",
        "flatbuffers>=25",
        "numpy>=2,<3",
        "protobuf>=3.20,<4",
        # It imports its microphone with everything else.
        "cffi",
        "pycparser",
        "sounddevice",
    ],
}
FOLDERS = {
    "ai-edge-litert": ROOT / ".venv-device-litert",
    "tflite-runtime": ROOT / ".venv-device-tflite",
    "mediapipe": ROOT / ".venv-device-mediapipe",
    "tflite-support": ROOT / ".venv-device-support",
}
# What shows that a client can be loaded, and the libraries of the system it needs, by
# the packages that Debian has them in. The continuous integration installs them.
LOADS = {
    "mediapipe": ("from mediapipe.tasks.python import vision", "libegl1 libgles2"),
    "tflite-support": ("from tflite_support.task import vision", "libusb-1.0-0"),
}
NEED_3_11 = ("tflite-runtime", "tflite-support")  # no wheels for a later Python
# What pip says where it reaches no index, or one without wheels for this machine.
UNREACHABLE = ("from versions: none", "Connection", "Temporary failure", "timed out")


@functools.cache
def environment(runtime):
    """The interpreter of the environment for `runtime`; skips where it cannot be.

    Args:
        runtime: One of `REQUIREMENTS` or `CLIENTS`.

    Returns:
        Path of its Python.
    """
    # Of several test processes one makes it, and the others wait.
    with filelock.FileLock(FOLDERS[runtime].with_suffix(".lock")):
        return _environment(runtime)


def _environment(runtime):
    folder = FOLDERS[runtime]
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    python, stamp = binaries / "python", folder / "installed.json"
    requirements = {**REQUIREMENTS, **CLIENTS}[runtime]
    wanted = json.dumps([_creator(runtime), *requirements])
    if stamp.is_file() and stamp.read_text() == wanted:
        return _loaded(runtime, python)
    shutil.rmtree(folder, ignore_errors=True)
    _run([_creator(runtime), "-m", "venv", "--without-pip", folder])
    # The pip that is here installs there. What is imported gets compiled then.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile"]
    pip += ["-q", "--disable-pip-version-check", "--no-input", "--retries", "1"]
    done = _run([*pip, *requirements], None)
    if done.returncode:
        shutil.rmtree(folder)
        if any(sign in done.stderr for sign in UNREACHABLE):
            said = done.stderr.strip().splitlines()[-1]
            pytest.skip(f"{runtime} cannot be installed from here: {said}")
        raise AssertionError(done.stderr)
    stamp.write_text(wanted)
    return _loaded(runtime, python)


def run(python, *arguments, code=0):
    """Runs a Python of `environment` at the root of the repository.

    Returns:
        What it wrote to the standard output. Its exit code must be `code`.
    """
    return _run([python, *arguments], code).stdout


def _creator(runtime):
    """The Python to make the environment from."""
    if runtime not in NEED_3_11 or sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    # A launcher may be on the path for a version that is not installed.
    if (
        found is None
        or subprocess.run([found, "-c", ""], capture_output=True).returncode
    ):
        pytest.skip(f"{runtime} needs Python 3.11, which is not here")
    return found


def _loaded(runtime, python):
    """`python`; skips where a library of the system is missing that it needs."""
    if runtime in LOADS:
        program, packages = LOADS[runtime]
        done = _run([python, "-c", program], None)
        if "cannot open shared object file" in done.stderr:
            said = done.stderr.strip().splitlines()[-1]
            pytest.skip(f"{runtime} needs apt-get install {packages}: {said}")
        assert done.returncode == 0, done.stderr
    return python


def _run(command, code=0):
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if code is not None:
        assert done.returncode == code, done.stderr
    return done
