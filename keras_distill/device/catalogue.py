"""Reads what a bundle knows of its images: embeddings, ids, classes."""

import json

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.load_array import load_array

_DAMAGED = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    EOFError,
    OSError,
)


def read_catalogue(folder, facts, dim):
    """Reads the catalogue of a bundle.

    Args:
        folder: `pathlib.Path` of the bundle.
        facts: Dictionary, the manifest's `catalogue`.
        dim: Width that the embeddings must have.

    Returns:
        `rows`, float32 array `(N, dim)`; `ids` and `classes`, tuples of N strings; and
        `synonyms`, a dictionary from names of classes to tuples of other names.

    Raises:
        BundleError: If a file is none, or they do not fit together.
    """
    try:
        rows = load_array(folder / facts["rows"])
        text = (folder / facts["ids"]).read_text(encoding="utf-8")
        names = json.loads(text)
        ids, labels = names["ids"], names["labels"]
        # A negative number would count from the end.
        if not all(type(label) is int and label >= 0 for label in labels):
            raise ValueError("labels must be integers from 0")
        classes = tuple(names["class_names"][label] for label in labels)
        synonyms = names.get("synonyms", {})
        synonyms = {name: tuple(others) for name, others in synonyms.items()}
        if not all(isinstance(name, str) for name in (*ids, *classes)):
            raise ValueError("names must be strings")
        if len({*ids}) != len(ids):
            raise ValueError("ids must be different")
        if rows.dtype != np.float32 or rows.shape != (len(ids), dim):
            raise ValueError(f"embeddings are {rows.dtype}{rows.shape}, not {dim} wide")
        if len(ids) != len(classes) or not ids or not np.isfinite(rows).all():
            raise ValueError("there must be a class and finite numbers for each id")
    except _DAMAGED as error:
        raise BundleError(
            "The catalogue must be embeddings with an id and a class for each. "
            f"Received: {facts['rows']} and {facts['ids']} in {folder} "
            f"({type(error).__name__}: {error})"
        ) from error
    return rows, tuple(ids), classes, synonyms


def check_embedder(manifest, path):
    """Refuses a catalogue that another network has embedded."""
    catalogue = manifest["catalogue"]
    expected = catalogue.get("embedder")
    found = manifest["files"].get(catalogue.get("embedded_by"), {}).get("sha256")
    if expected is not None and found != expected:
        raise BundleError(
            "The catalogue must be embedded by the network that the bundle holds: "
            f"expected one of sha256 {expected}. Received: "
            f"{catalogue.get('embedded_by')!r} of {found} in {path}"
        )
