"""Run a file with a runtime that only another Python can have, such as an old one."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np

import keras_distill

SECONDS = 3600
BATCH = 256


def embed_elsewhere(python, model, images, rows):
    """Embeds images with the TensorFlow Lite interpreter of another Python.

    tflite-runtime, the oldest promised, needs numpy below 2 and Python 3.11 or
    older, so that it cannot be where a bundle is written. That Python needs an
    interpreter and numpy, nothing of this library.

    Args:
        python: Path of the Python, such as `".venv-old/bin/python"`.
        model: Bytes of the .tflite.
        images: `ImageSet`.
        rows: Ints `(Q,)`, which of the images.

    Returns:
        Float32 array `(Q, dim)`, and dictionary `runtime`, `version` and
        `milliseconds` (median of one image).

    Raises:
        ValueError: If there is no such Python, or it cannot run the file: what it
            said is in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model.tflite").write_bytes(model)
        _write_images(folder / "images.npy", images, rows)
        names = ("model.tflite", "images.npy", "embeddings.npy")
        command = [python, "-m", "keras_distill.device.embed_images"]
        said = _run([*command, *(folder / name for name in names)])
        return np.load(folder / names[-1]), json.loads(said)


def detect_elsewhere(python, model, detector, images):
    """Detects with the TensorFlow Lite interpreter of another Python.

    Args:
        python: See `embed_elsewhere`.
        model: Bytes of the .tflite.
        detector: A `device.Detector` of it, for its anchors and options.
        images: `ImageSet`.

    Returns:
        What `detect_all` of the detector gives, found there; and dictionary `runtime`,
        `version` and `milliseconds` (median of one image).

    Raises:
        ValueError: As `embed_elsewhere`.
    """
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "anchors.npy", detector.anchors)
        (folder / "options.json").write_text(json.dumps(detector.options))
        _write_images(folder / "images.npy", images, np.arange(len(images)))
        names = ("model.tflite", "anchors.npy", "options.json", "images.npy")
        command = [python, "-m", "keras_distill.device.detect_images"]
        said = _run([*command, *(folder / name for name in (*names, "found.npz"))])
        with np.load(folder / "found.npz") as found:
            return dict(found), json.loads(said)


def check_runtimes(pythons):
    """Raises ValueError if one of these is no program, before anything is done."""
    for python in pythons:
        if shutil.which(python) is None:
            raise ValueError(
                "A runtime must be the path of a Python that has one. "
                f"Received: {python}"
            )


def _write_images(path, images, rows):
    pixels = np.lib.format.open_memmap(
        path, "w+", np.uint8, (len(rows), *images.image_shape)
    )
    for start in range(0, len(rows), BATCH):
        pixels[start : start + BATCH] = images.read(rows[start : start + BATCH])
    pixels.flush()


def _run(command):
    root = pathlib.Path(keras_distill.__file__).parent.parent
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(
            "A runtime must be the path of a Python that has one, and answer within "
            f"{SECONDS} seconds. Received: {command[0]} ({error})"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(
            "A runtime must run the network over the images. "
            f"Received: {command[0]}, which ended with {last}"
        )
    return done.stdout
