"""Rows in lists of nearly equal length, each around its centroid."""

from typing import NamedTuple

import numpy as np

SLACK = 1.2  # how much longer than the mean a list may be
ITERATIONS, SAMPLE_A_LIST = 10, 64
TILE = 1 << 24  # scores held at a time: 64 MiB


class InvertedLists(NamedTuple):
    """A partition of rows.

    Attributes:
        centroids: float32 array `(L, D)`.
        members: int32 array `(L, capacity)`, the rows of each list; -1 where it is
            shorter. Every row is in one list.
    """

    centroids: np.ndarray
    members: np.ndarray


def inverted_lists(rows, count, seed=0):
    """k-means whose clusters hold at most 1.2 times the mean each.

    A graph has fixed shapes, so that every list is as long as the longest: without a
    limit that is several times the mean. A row whose nearest list is full, of rows
    that are nearer, goes to the next nearest that is not.

    Args:
        rows: float32 array `(N, D)`.
        count: Integer in 1..N, how many lists.
        seed: Integer: the same rows and seed make the same lists.

    Returns:
        `InvertedLists`.

    Raises:
        ValueError: If `count` is out of range.
    """
    rows = np.asarray(rows, np.float32)
    if not 1 <= count <= len(rows):
        raise ValueError(
            f"`count` must lie in [1, {len(rows)}], the rows there are. "
            f"Received: count={count}"
        )
    rng = np.random.default_rng(seed)
    sample = rows
    if len(rows) > SAMPLE_A_LIST * count:
        sample = rows[np.sort(rng.choice(len(rows), SAMPLE_A_LIST * count, False))]
    centroids = sample[np.sort(rng.choice(len(sample), count, False))]
    for _ in range(ITERATIONS):
        nearest, _ = _nearest(sample, centroids, np.ones(count, bool))
        centroids = _means(sample, nearest, centroids)
    capacity = int(np.ceil(SLACK * len(rows) / count))
    members = _filled(rows, centroids, capacity)
    return InvertedLists(centroids, members)


def list_scores_bias(centroids):
    """`-|c|**2 / 2` `(L,)`: added to `q . c` it ranks by distance to the centroids."""
    return -0.5 * np.einsum("ld,ld->l", centroids, centroids).astype(np.float32)


def _nearest(rows, centroids, free):
    """The nearest of the free centroids to each row, and how near it is."""
    bias = np.where(free, list_scores_bias(centroids), -np.inf).astype(np.float32)
    nearest = np.empty(len(rows), np.int64)
    scores = np.empty(len(rows), np.float32)
    tile = max(1, TILE // len(centroids))
    for start in range(0, len(rows), tile):
        products = rows[start : start + tile] @ centroids.T + bias
        best = products.argmax(axis=1)
        nearest[start : start + tile] = best
        scores[start : start + tile] = products[np.arange(len(best)), best]
    # Half of -|x|**2 is missing from half the negative squared distances.
    return nearest, scores - 0.5 * np.einsum("nd,nd->n", rows, rows)


def _means(rows, nearest, centroids):
    counts = np.bincount(nearest, minlength=len(centroids))
    order = np.argsort(nearest, kind="stable")
    # A centroid that lost all its rows stays where it is.
    kept = np.flatnonzero(counts)
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(rows[order].astype(np.float64), starts[kept], axis=0)
    means = centroids.copy()
    means[kept] = sums / counts[kept, None]
    return means


def _filled(rows, centroids, capacity):
    members = np.full((len(centroids), capacity), -1, np.int32)
    used = np.zeros(len(centroids), np.int64)
    waiting = np.arange(len(rows))
    while len(waiting):
        nearest, scores = _nearest(rows[waiting], centroids, used < capacity)
        # By list, the nearest rows first; each list takes what it has room for.
        order = np.lexsort((waiting, -scores, nearest))
        lists = nearest[order]
        place = np.arange(len(order)) - np.searchsorted(lists, lists)
        taken = place < (capacity - used)[lists]
        chosen = order[taken]
        members[lists[taken], (used[lists] + place)[taken]] = waiting[chosen]
        used += np.bincount(lists[taken], minlength=len(centroids))
        waiting = np.delete(waiting, chosen)
    # In the order of the catalogue: of equal scores the earlier row comes first.
    members = np.sort(np.where(members < 0, len(rows), members), axis=1)
    return np.where(members == len(rows), -1, members).astype(np.int32)
