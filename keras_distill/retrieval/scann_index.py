"""Build a ScaNN index over unit rows, in a folder that can be moved."""

import functools
import json
import pathlib

import numpy as np

from keras_distill.device.quiet import without_chatter
from keras_distill.device.scann_folder import ScannFolder, import_scann
from keras_distill.device.scann_settings import NAME as SETTINGS
from keras_distill.device.scann_settings import ROWS
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.spread import spread

KINDS = ("brute_force", "tree")
# From here on a tree answers faster than looking at every row, at a recall of 0.99.
TREE_FROM = 20_000
LEAST_FOR_TREE = 256
RECALL, NEIGHBOURS, MOST_QUERIES = 0.99, 10, 500
# What is tried, the cheapest first.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0)
REORDERED = (50, 100, 200, 400, 1000)


def build_index(embeddings, folder, kind=None, recall=RECALL, queries=None):
    """Indexes embeddings with ScaNN and saves the index.

    A tree has `2 sqrt(N)` partitions of rows that are quantised to 4 bits for every
    two numbers (asymmetric hashing, Guo et al., ICML 2020,
    https://arxiv.org/abs/1908.10396). How many partitions a search looks into, and how
    many candidates it scores again with float32 rows, is chosen by searching with
    `queries`: the fewest partitions that find `recall` of the ten nearest, then the
    fewest candidates.

    The folder holds relative paths only, so that it can be moved, and no pickle;
    `dataset.npy` in it are the rows themselves, which numpy can search as well, and
    `settings.json` says what was chosen and measured. The same embeddings make the
    same brute-force index; trees may differ from build to build on a loaded machine,
    on one training thread as well.

    Args:
        embeddings: float array `(N, D)`, rows of length one.
        folder: Path of the folder to fill; made if it is missing.
        kind: `"brute_force"`, which looks at every row; `"tree"`; or `None` for a tree
            from 20,000 rows on. Defaults to `None`.
        recall: Float in (0, 1], what a tree has to find. Defaults to `0.99`.
        queries: float array `(Q, D)`, rows of length one that are not indexed, of which
            500 are used. Defaults to rows of the index, each left out of what it finds.

    Returns:
        The index as it was saved, a `keras_distill.device.ScannFolder`: `search(
        queries, k)` gives scores and indices as `exact_search` does, `settings` what
        was measured.

    Raises:
        ValueError: If an argument is not as described, the rows are too few for a
            tree, or a tree that looks into all its partitions does not find `recall`.
        ImportError: If ScaNN is not installed.
    """
    rows = unit_rows(embeddings)
    kind = index_kind(len(rows), kind)
    if not 0 < recall <= 1:
        raise ValueError(f"`recall` must lie in (0, 1]. Received: recall={recall}")
    if kind == "tree" and len(rows) < LEAST_FOR_TREE:
        raise ValueError(
            f"A tree needs at least {LEAST_FOR_TREE} rows to learn its partitions "
            f"from. Received: embeddings.shape={rows.shape}"
        )
    scann = import_scann()
    builder = scann.scann_ops_pybind.builder(rows, min(10, len(rows)), "dot_product")
    settings = {"kind": kind}
    if kind == "brute_force":
        builder = builder.score_brute_force()
    else:
        leaves = round(2 * len(rows) ** 0.5)
        settings |= {"leaves": leaves, "leaves_to_search": leaves}
        settings["reorder"] = REORDERED[-1]
        builder = builder.tree(leaves, leaves, training_sample_size=len(rows))
        builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2)
        builder = builder.reorder(REORDERED[-1])
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with without_chatter():
        builder.build().serialize(str(folder), relative_path=True)
    if not np.array_equal(np.load(folder / ROWS), rows):
        raise RuntimeError(f"ScaNN has not written the rows to {folder / ROWS}")
    _write_settings(folder, settings)
    if kind == "tree":
        _write_settings(
            folder, settings | _chosen(ScannFolder(folder), recall, queries)
        )
    return ScannFolder(folder)


def index_recall(search, rows, queries=None, k=NEIGHBOURS):
    """The part of the true nearest that a search finds.

    Args:
        search: Function `(queries, k)` that returns scores and indices.
        rows: float32 array `(N, D)`, what is searched.
        queries: float array `(Q, D)`, or `None` for up to 500 of the rows, each of
            which is left out of what it finds.
        k: Positive integer, how many neighbours, at most what there are.

    Returns:
        Float in [0, 1].
    """
    own = None
    if queries is None:
        own = spread(len(rows), MOST_QUERIES)
        queries = rows[own]
    k = min(k, len(rows) - (own is not None))
    if k < 1:
        return 1.0
    true = _without(own, exact_search(queries, rows, k + (own is not None))[1], k)
    found = _without(own, search(queries, k + (own is not None))[1], k)
    pairs = zip(found, true, strict=True)
    return float(np.mean([len({*a} & {*b}) / k for a, b in pairs]))


def _without(own, indices, k):
    if own is None:
        return indices
    return np.array([row[row != i][:k] for row, i in zip(indices, own, strict=True)])


def _chosen(index, recall, queries):
    """The settings that find enough, the fewest partitions first."""
    if queries is not None:
        queries = unit_rows(queries)
        queries = queries[spread(len(queries), MOST_QUERIES)]
    leaves = index.settings["leaves"]

    def found(probed, reorder):
        search = functools.partial(
            index.search, leaves_to_search=probed, reorder=reorder
        )
        return index_recall(search, index.rows, queries)

    tried = sorted({max(1, round(share * leaves)) for share in SHARES})
    best = 0.0
    for probed in tried:
        best = found(probed, REORDERED[-1])
        if best >= recall:
            break
    else:
        raise ValueError(
            f"A tree that looks into all {leaves} partitions must find {recall} of the "
            f"nearest rows: ask for less, or for brute force. Received: {best:.4f}"
        )
    for reorder in REORDERED:
        measured = found(probed, reorder)
        if measured >= recall:
            break
    count = min(MOST_QUERIES, len(index.rows) if queries is None else len(queries))
    return {
        "leaves_to_search": probed,
        "reorder": reorder,
        "recall": measured,
        "queries": count,
        "k": NEIGHBOURS,
    }


def _write_settings(folder, settings):
    text = json.dumps(settings, indent=2)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


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
