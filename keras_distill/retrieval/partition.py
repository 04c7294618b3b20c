"""Cut a catalogue into parts, and look into as many as a recall needs."""

import numpy as np

from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.one_blas_thread import one_blas_thread
from keras_distill.retrieval.task_index import Partitions

# Rows that the k-means sees at most, and queries that measure what parts find.
LEARNT_FROM, QUERIES, NEIGHBOURS = 50_000, 1000, 10


def partition(rows, recall=0.99, parts=None, seed=0):
    """Parts of a catalogue by k-means, and how many of them to look into.

    That number is measured, not guessed: the least with which some of the rows, as
    queries, find at least `recall` of their ten nearest others.

    Args:
        rows: float32 array `(N, D)`, rows of length one.
        recall: Float in (0, 1], which part of the true neighbours must be found.
        parts: How many parts; defaults to the square root of N.
        seed: Integer, of the k-means and of the choice of queries.

    Returns:
        `Partitions`.

    Raises:
        ValueError: If `recall` or `parts` is out of its range.
    """
    from keras_distill.metrics.k_means import k_means

    if not 0 < recall <= 1:
        raise ValueError(f"`recall` must be in (0, 1]. Received: recall={recall}")
    parts = round(len(rows) ** 0.5) if parts is None else parts
    if not 1 <= parts <= len(rows):
        raise ValueError(
            f"`parts` must be in 1..{len(rows)}, the number of rows. "
            f"Received: parts={parts}"
        )
    rng = np.random.default_rng(seed)
    learnt = rows[np.sort(rng.permutation(len(rows))[: max(parts, LEARNT_FROM)])]
    with one_blas_thread():  # The products are small: threads would only wait.
        centroids = k_means(learnt, parts, seed=seed).centroids
    centroids /= np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
    assignment = np.concatenate(
        [np.argmax(some @ centroids.T, axis=1) for some in _tiles(rows)]
    )
    queries = np.sort(rng.permutation(len(rows))[:QUERIES])
    ranks = _ranks(rows, queries, centroids, assignment)
    shares = np.cumsum(np.bincount(ranks.ravel(), minlength=parts)) / ranks.size
    searched = 1 + int(np.argmax(shares >= recall))
    return Partitions(centroids, assignment, searched)


def _ranks(rows, queries, centroids, assignment):
    """How likely a part each true neighbour of each query is in: 0 the likeliest."""
    k = min(NEIGHBOURS + 1, len(rows))
    _, found = exact_search(rows[queries], rows, k)
    order = np.argsort(-(rows[queries] @ centroids.T), axis=1, kind="stable")
    places = np.argsort(order, axis=1)
    ranks = np.take_along_axis(places, assignment[found], axis=1)
    others = found != queries[:, None]  # the query itself is no neighbour of it
    return ranks[others] if others.any() else ranks


def _tiles(rows, count=8192):
    return (rows[start : start + count] for start in range(0, len(rows), count))
