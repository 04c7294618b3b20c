"""The part of a bundle that changes with its catalogue: names, index, search file."""

import json

import numpy as np

from keras_distill.device.scann_folder import has_scann
from keras_distill.device.scann_settings import ROWS
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.row_codes import row_codes
from keras_distill.retrieval.scann_index import (
    RECALL,
    build_index,
    index_kind,
    index_recall,
)
from keras_distill.retrieval.search_graph import OUTPUTS, SIGNATURE
from keras_distill.retrieval.search_model import NEIGHBOURS, build_search_model
from keras_distill.retrieval.spread import spread
from keras_distill.retrieval.thresholds import calibrate

IDS, QUERIES = "ids.json", "queries.npy"
SEARCH, GOLDEN = "search.tflite", "golden.npz"
GOLDEN_IMAGES, GOLDEN_NEIGHBOURS = 32, 5
FALSE_MATCH_RATE, MOST_CALIBRATED = 0.01, 1000


def write_catalogue(folder, names, rows, queries, kind=None, recall=RECALL):
    """Writes the names and the index of a catalogue.

    Args:
        folder: `pathlib.Path` of the bundle that is being written.
        names: Dictionary `name`, `ids` (N strings), `labels` (N integers),
            `class_names`, and others that the file of names shall hold.
        rows: float32 array `(N, dim)`, the catalogue as the int8 file embeds it.
        queries: float32 array `(Q, dim)`, embeddings to measure searches with, which
            are kept for updates.
        kind, recall: See `build_index`.

    Returns:
        Dictionary, what the manifest says of it.
    """
    np.save(folder / QUERIES, queries)
    text = json.dumps(
        {key: value for key, value in names.items() if key != "name"},
        ensure_ascii=False,
    )
    (folder / IDS).write_text(text, encoding="utf-8")
    found = {
        "name": names["name"],
        "images": len(names["ids"]),
        "classes": len(set(names["labels"])),
        "ids": IDS,
        "rows": f"scann/{ROWS}",
        "queries": QUERIES,
        "index": index_kind(len(rows), kind),
        "index_asked_for": kind,
        "recall": recall,
        "searchers": ["numpy", "tflite"],
    }
    if has_scann():
        index = build_index(rows, folder / "scann", found["index"], recall, queries)
        found["searchers"].append("scann")
        found["scann_recall_at_10"] = index_recall(index.search, rows, queries)
    else:
        (folder / "scann").mkdir()
        np.save(folder / found["rows"], rows)
    return found


def write_search(folder, model, rows, queries, k=NEIGHBOURS):
    """Writes the file that embeds an image and searches the catalogue.

    Args:
        folder, rows: See `write_catalogue`.
        model: Bytes of the int8 file.
        queries: float32 array `(Q, dim)`, embeddings to measure it with.
        k: Integer, how many neighbours it gives. Defaults to `10`.

    Returns:
        Dictionary, what the manifest says of it.

    Raises:
        VerificationError: See `build_search_model`.
    """
    search = build_search_model(model, rows, queries, k=k)
    (folder / SEARCH).write_bytes(search.model)
    asked, k, dim = k, search.facts["k"], rows.shape[1]
    kinds = zip(OUTPUTS, ("int32", "float32", "float32"), (k, k, dim), strict=True)
    outputs = {name: {"dtype": dtype, "shape": [1, n]} for name, dtype, n in kinds}
    return {
        "file": SEARCH,
        "model": "int8",
        "signature": SIGNATURE,
        "neighbours_asked_for": asked,
        "outputs": outputs,
        **search.facts,
    }


def catalogue_thresholds(rows, labels, rate=None, float_rows=None):
    """Thresholds of a catalogue whose images are searched among the others.

    Args:
        rows: float32 array `(N, dim)`, the catalogue as the int8 file embeds it; it is
            searched as the search file holds it.
        labels: Integers `(N,)`, its classes.
        rate: The false match rate, or `None` for `FALSE_MATCH_RATE` where the
            catalogue supports it.
        float_rows: float32 array `(N, dim)`, the same images by the float file; `None`
            where they are not known.

    Returns:
        Dictionary for the manifest: `false_match_rate`, and `models` with the
        thresholds of `"int8"`, of `"float32"` (float queries in the int8 catalogue)
        and of `"float_catalogue"` (float on both sides, to compare with); or `refused`,
        the reason.

    Raises:
        ValueError: If `rate` is given and the catalogue cannot support it.
    """
    chosen = FALSE_MATCH_RATE if rate is None else rate
    own = spread(len(rows), MOST_CALIBRATED)
    held = row_codes(rows).decoded()
    held /= np.linalg.norm(held, axis=1, keepdims=True)
    sides = {"int8": (rows, held)}
    if float_rows is not None:
        sides |= {
            "float32": (float_rows, held),
            "float_catalogue": (float_rows, float_rows),
        }
    labels = np.asarray(labels)
    try:
        models = {
            name: calibrate(queries[own], labels[own], gallery, labels, chosen, own)
            for name, (queries, gallery) in sides.items()
        }
    except ValueError as error:
        if rate is not None:
            raise
        return {"false_match_rate": chosen, "models": {}, "refused": str(error)}
    facts = {name: found.facts() for name, found in models.items()}
    return {"false_match_rate": chosen, "models": facts}


def write_golden(folder, image_ids, images, embeddings, ids, rows, **others):
    """Writes images with what they give, to check a device with.

    Args:
        folder: See `write_catalogue`.
        image_ids: Strings, which images of the catalogue the queries are.
        images: uint8 array of queries.
        embeddings: float32 array, what the int8 file makes of them.
        ids: N strings, the catalogue.
        rows: float32 array `(N, dim)`.
        **others: Arrays to keep beside them.

    Returns:
        Dictionary, what the manifest says of it.
    """
    k = min(GOLDEN_NEIGHBOURS, len(rows))
    scores, indices = exact_search(embeddings, rows, k)
    np.savez(
        folder / GOLDEN,
        image_ids=np.array(image_ids),
        images=images,
        embeddings=embeddings,
        ids=np.array(ids)[indices],
        scores=scores,
        **others,
    )
    return {"file": GOLDEN, "images": len(images), "k": k}
