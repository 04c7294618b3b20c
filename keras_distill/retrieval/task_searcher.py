"""One file for Android's Task Library: an embedder with its catalogue inside."""

import dataclasses
import json

import numpy as np

from keras_distill import tflite
from keras_distill.device.embedder import Embedder
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.partition import partition
from keras_distill.retrieval.scann_index import index_kind, unit_rows
from keras_distill.retrieval.task_index import (
    TaskIndex,
    check_ids,
    check_size,
    write_task_index,
)
from keras_distill.version import __version__

FILE, INDEX = "task_searcher.tflite", "scann_index.ldb"
_QUERIES, _NEIGHBOURS, _TOLERANCE = 500, 10, 1e-6
# A tree is chosen by other queries than those that it is measured with in the end.
_ALLOWANCE = 0.02


@dataclasses.dataclass(frozen=True)
class TaskSearcher:
    """A file that was written for the Task Library, and what was measured of it.

    Attributes:
        model: Bytes of the .tflite.
        section: Dictionary, what a manifest says of it: `file`, `input`, `index`
            (`kind`, `partitions`, `searched`, `bytes`), `embedding_difference`,
            `queries`, what they find: `recall_at_10`, of equal scores either counts;
            `overlap_at_10`, the share of ids that exact search gives too; and
            `score_difference`.
    """

    model: bytes
    section: dict

    def write(self, folder):
        """Writes the file into the folder of a bundle; gives what a manifest says."""
        (folder / FILE).write_bytes(self.model)
        return self.section


def task_searcher(model, embeddings, ids, images, kind=None, recall=0.99, name=""):
    """Puts an embedder and its catalogue into one file that `ImageSearcher` loads.

    The file is a .tflite as before, with a ScaNN index attached to its output. The
    Task Library's `ImageSearcher` needs nothing else; its `ImageEmbedder`, that of
    MediaPipe and every interpreter run the same file as an embedder. All of these
    give colour images: to an embedder of grey ones they are made grey in the graph.

    What comes out is read again and measured before it is returned: it must embed
    `images` as `model` does, bit for bit, and find in the index what exact search
    does.

    Args:
        model: Bytes of the .tflite that embedded the catalogue, as
            `keras_distill.tflite.convert` makes it.
        embeddings: float array `(N, D)`, rows of length one, by that very file.
        ids: N strings, all different, what a search answers.
        images: uint8 array `(count, height, width, channels)`, at least one, to
            compare embeddings on.
        kind: `"brute_force"`: a search looks at every row; `"tree"`: into as many
            parts of the catalogue as `recall` needs; or `None` for a tree from
            20,000 rows on.
        recall: Float in (0, 1], which part of the ten nearest others a tree must
            find. Defaults to `0.99`.
        name: String, what the model is called. Defaults to `""`.

    Returns:
        A `TaskSearcher`.

    Raises:
        VerificationError: A `ValueError`; if the file embeds differently
            (`check` is `"embedding"`), or finds less than all, or in a tree 0.02
            less than `recall` (`"recall"`).
        ValueError: If an argument is not as described, the model takes another
            number of channels than 1 or 3, or there is more than the format holds.
    """
    rows = unit_rows(embeddings)
    kind = index_kind(len(rows), kind)
    partitions = partition(rows, recall) if kind == "tree" else None
    about = {"keras_distill": __version__, "model": name, "images": len(rows)}
    index = write_task_index(rows, ids, partitions, json.dumps(about))
    result = tflite.add_metadata(
        tflite.with_colour_input(model),
        name,
        f"Embeds an image as {rows.shape[1]} numbers, and searches with them among "
        f"{len(rows)} images.",
        index=(INDEX, index),
    )
    colour = Embedder(result)
    section = {
        "file": FILE,
        "bytes": len(result),
        "input": {"shape": list(colour.image_shape), "color_space": "rgb"},
        "index": {
            "kind": kind,
            "partitions": 1 if partitions is None else len(partitions.centroids),
            "searched": 1 if partitions is None else partitions.searched,
            "bytes": len(index),
        },
        "embedding_difference": _embedding_difference(model, colour, images),
        **_found(tflite.read_files(result)[INDEX], rows, ids, recall),
    }
    return TaskSearcher(result, section)


def check_task_library(catalogue, dim):
    """Refuses, before anything is done, a catalogue that no such file can hold.

    Args:
        catalogue: `keras_distill.data.ImageSet`.
        dim: Integer, the width of its embeddings.

    Raises:
        ValueError: If its ids or its size are not what the format holds.
    """
    names = check_ids(catalogue.ids, len(catalogue))
    check_size(len(names), 4 * dim * len(names) + sum(map(len, names)))


def _embedding_difference(model, colour, images):
    """By how much the numbers of the two files differ at most: must be 0."""
    expected = Embedder(model).embed(images)
    if images.shape[-1] != colour.image_shape[-1]:
        images = np.repeat(images, colour.image_shape[-1], axis=-1)
    difference = float(np.abs(colour.embed(images) - expected).max())
    if difference != 0:
        raise tflite.VerificationError(
            "With its metadata a file must embed as without, bit for bit. "
            f"Received: differences up to {difference:.2e}",
            "embedding",
        )
    return difference


def _found(index, rows, ids, recall):
    """What the index, read again, finds of the ten nearest of some of the rows."""
    index = TaskIndex(index)
    k = min(_NEIGHBOURS, len(rows))
    queries = rows[np.linspace(0, len(rows) - 1, min(len(rows), _QUERIES)).astype(int)]
    true, nearest = exact_search(queries, rows, k)
    place = {name: row for row, name in enumerate(ids)}
    hits, same, off = 0, 0, 0.0
    for query, scores, names, best, own in zip(
        queries, *index.search(queries, k), true, nearest, strict=True
    ):
        exact = rows[[place[name] for name in names]] @ query
        # Of equal scores either is right: what counts is being as near as the k-th.
        hits += int(np.sum(exact >= best[-1] - _TOLERANCE))
        same += len({*names} & {ids[row] for row in own})
        off = max(off, float(np.abs(scores - exact).max(initial=0)))
    found = hits / (k * len(queries))
    least = 1 if index.partitions is None else recall - _ALLOWANCE
    if found < least:
        raise tflite.VerificationError(
            f"The index must find {least:.2f} of the {k} nearest. "
            f"Received: {found:.4f}",
            "recall",
        )
    return {
        "queries": len(queries),
        "recall_at_10": found,
        "overlap_at_10": same / (k * len(queries)),
        "score_difference": off,
    }
