"""The manifest of a bundle, but for what its parts say of themselves."""

import hashlib
import importlib.metadata
import json
import platform

from keras_distill import tflite
from keras_distill.device.manifest import FORMAT_VERSION, NAME, file_facts
from keras_distill.device.scann_folder import has_scann
from keras_distill.version import __version__


def manifest_head(student, image_shape, dim, recipe, runtime):
    """What goes into a network of the bundle, what comes out, and who made it.

    Args:
        student: String, its name.
        image_shape: `(height, width, channels)`.
        dim: Integer, the width of an embedding.
        recipe: Dictionary, or `None`.
        runtime: The interpreter that measured the files, with `name` and `version`.

    Returns:
        Dictionary, the first sections of a manifest.
    """
    return {
        "format_version": FORMAT_VERSION,
        "written_by": versions(runtime),
        "signature": tflite.SIGNATURE,
        "input": {
            "name": tflite.INPUT,
            "dtype": "uint8",
            "shape": list(image_shape),
            "range": [0, 255],
        },
        "output": {
            "name": tflite.OUTPUT,
            "dtype": "float32",
            "dim": int(dim),
            "length": 1,
        },
        "student": {"name": student},
        "recipe": fingerprinted(recipe),
    }


def files_of(folder):
    """Every file of a bundle: `{name: {"bytes": size, "sha256": digest}}`.

    Args:
        folder: `pathlib.Path` of the bundle, which has no manifest yet.
    """
    return {
        path.relative_to(folder).as_posix(): file_facts(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_manifest(folder, manifest):
    """Writes the manifest, the last file of a bundle, with the facts of all others.

    Args:
        folder: `pathlib.Path` of the bundle.
        manifest: Dictionary; its `files` are set.
    """
    manifest["files"] = files_of(folder)
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def fingerprinted(recipe):
    """A recipe with the digest of all it says; `None` for `None`."""
    if recipe is None:
        return None
    text = json.dumps(recipe, sort_keys=True)
    return {"fingerprint": hashlib.sha256(text.encode()).hexdigest(), **recipe}


def versions(runtime):
    """Dictionary from what made a bundle to its version."""
    packages = ("tensorflow", "keras", "ai-edge-quantizer", "numpy")
    found = {name: importlib.metadata.version(name) for name in packages}
    if has_scann():
        found["scann"] = importlib.metadata.version("scann")
    return {
        "keras_distill": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        runtime.name: runtime.version,
        **found,
    }
