"""Build a ScaNN index over unit rows, in a folder that can be moved."""

import pathlib

import numpy as np

from keras_distill.device.quiet import without_chatter
from keras_distill.device.scann_folder import (
    LEAST_REORDERED,
    ROWS,
    ScannFolder,
    import_scann,
)

KINDS = ("brute_force", "tree")
# From here on a tree answers faster than looking at every row, at a recall of 0.99.
TREE_FROM = 20_000
LEAST_FOR_TREE = 256


def build_index(embeddings, folder, kind=None):
    """Indexes embeddings with ScaNN and saves the index.

    The folder holds relative paths only, so that it can be moved, and no pickle;
    `dataset.npy` in it are the rows themselves, which numpy can search as well. The
    same embeddings make the same index.

    Args:
        embeddings: float array `(N, D)`, rows of length one.
        folder: Path of the folder to fill; made if it is missing.
        kind: `"brute_force"`, which looks at every row; `"tree"`, `2 sqrt(N)`
            partitions of which 15 % are searched with quantised rows (Guo et al.,
            ICML 2020, https://arxiv.org/abs/1908.10396) and the best candidates
            scored again exactly; or `None` for a tree from 20,000 rows on.

    Returns:
        The index as it was saved, a `keras_distill.device.ScannFolder`: `search(
        queries, k)` gives scores and indices as `exact_search` does.

    Raises:
        ValueError: If `kind` is unknown, `embeddings` are no unit rows, or they are
            too few for a tree.
        ImportError: If ScaNN is not installed.
    """
    rows = unit_rows(embeddings)
    kind = index_kind(len(rows), kind)
    if kind == "tree" and len(rows) < LEAST_FOR_TREE:
        raise ValueError(
            f"A tree needs at least {LEAST_FOR_TREE} rows to learn its partitions "
            f"from. Received: embeddings.shape={rows.shape}"
        )
    scann = import_scann()
    builder = scann.scann_ops_pybind.builder(rows, min(10, len(rows)), "dot_product")
    if kind == "brute_force":
        builder = builder.score_brute_force()
    else:
        leaves = round(2 * len(rows) ** 0.5)
        builder = builder.tree(
            leaves, max(1, round(0.15 * leaves)), training_sample_size=len(rows)
        )
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        builder = builder.reorder(LEAST_REORDERED)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with without_chatter():
        builder.build().serialize(str(folder), relative_path=True)
    if not np.array_equal(np.load(folder / ROWS), rows):
        raise RuntimeError(f"ScaNN has not written the rows to {folder / ROWS}")
    return ScannFolder(folder)


def index_kind(count, kind=None):
    """The kind of index for `count` rows: `kind`, or what suits their number.

    Raises:
        ValueError: If `kind` is unknown.
    """
    if kind is None:
        return "tree" if count >= TREE_FROM else "brute_force"
    if kind not in KINDS:
        raise ValueError(
            f"`kind` must be one of {', '.join(map(repr, KINDS))} or None. "
            f"Received: kind={kind!r}"
        )
    return kind


def unit_rows(embeddings):
    """`embeddings` as a float32 array, checked to be rows of length one."""
    rows = np.ascontiguousarray(embeddings, np.float32)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            "`embeddings` must have shape (rows, dim), both above 0. "
            f"Received: embeddings.shape={rows.shape}"
        )
    lengths = np.linalg.norm(rows, axis=1)
    worst = int(np.argmax(np.abs(np.nan_to_num(lengths, nan=np.inf) - 1)))
    if not abs(lengths[worst] - 1) < 1e-3:
        raise ValueError(
            "`embeddings` must be rows of length one, so that dot products are "
            f"cosines. Received: row {worst} of length {lengths[worst]:.4f}"
        )
    return rows
