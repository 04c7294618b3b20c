"""Environments without TensorFlow, one for each runtime, made once and kept.

They lie beside `.venv` at the root of the repository; remove them to make them anew.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

REQUIREMENTS = {
    "ai-edge-litert": ["ai-edge-litert>=2.3", "numpy>=2,<3", "pillow>=10.1"],
    "tflite-runtime": ["tflite-runtime==2.14.0", "numpy<2", "pillow>=10.1"],
}
FOLDERS = {
    "ai-edge-litert": ROOT / ".venv-device-litert",
    "tflite-runtime": ROOT / ".venv-device-tflite",
}
# What pip says where it reaches no index, or one without wheels for this machine.
UNREACHABLE = ("from versions: none", "Connection", "Temporary failure", "timed out")


def environment(runtime):
    """The interpreter of the environment for `runtime`; skips where it cannot be.

    Args:
        runtime: One of `REQUIREMENTS`.

    Returns:
        Path of its Python.
    """
    folder = FOLDERS[runtime]
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    python, stamp = binaries / "python", folder / "installed.json"
    wanted = json.dumps([_creator(runtime), *REQUIREMENTS[runtime]])
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    _run([_creator(runtime), "-m", "venv", folder])
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    done = _run([*pip, "--no-input", "--retries", "1", *REQUIREMENTS[runtime]], None)
    if done.returncode:
        shutil.rmtree(folder)
        if any(sign in done.stderr for sign in UNREACHABLE):
            said = done.stderr.strip().splitlines()[-1]
            pytest.skip(f"{runtime} cannot be installed from here: {said}")
        raise AssertionError(done.stderr)
    stamp.write_text(wanted)
    return python


def run(python, *arguments, code=0):
    """Runs a Python of `environment` at the root of the repository.

    Returns:
        What it wrote to the standard output. Its exit code must be `code`.
    """
    return _run([python, *arguments], code).stdout


def _creator(runtime):
    """The Python to make the environment from."""
    if runtime == "ai-edge-litert" or sys.version_info[:2] == (3, 11):
        return sys.executable
    found = shutil.which("python3.11")
    # A launcher may be on the path for a version that is not installed.
    if (
        found is None
        or subprocess.run([found, "-c", ""], capture_output=True).returncode
    ):
        pytest.skip(f"{runtime} 2.14.0 needs Python 3.11, which is not here")
    return found


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
