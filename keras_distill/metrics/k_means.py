"""Clusters for `nmi`: small, seeded, in fixed memory."""

from typing import NamedTuple

import numpy as np

TILE, TRIES = 4096, 3


class KMeans(NamedTuple):
    """What `k_means` found.

    Attributes:
        clusters: Int array `(N,)`, each row's cluster, in 0..k-1.
        centroids: float32 array `(k, D)`.
    """

    clusters: np.ndarray
    centroids: np.ndarray


def k_means(points, k: int, iterations: int = 20, seed: int = 0) -> KMeans:
    """Lloyd's algorithm from a greedy k-means++ start.

    The same seed gives the same clusters. They are one local optimum of many:
    another implementation, or another seed, finds other clusters and another
    `nmi`. A cluster that falls empty takes the row that lies farthest from its
    own centroid.

    Args:
        points: Array `(N, D)` of finite numbers; Euclidean distances.
        k: Number of clusters, in 1..N.
        iterations: Assignments to make at most; fewer once nothing changes.
        seed: Integer.

    Returns:
        `KMeans(clusters, centroids)`.

    Raises:
        ValueError: If `points` is not of rank 2 or not finite, `k` is not in 1..N
            or `iterations` not positive.
    """
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(
            "`points` must be finite and have shape (N, D). "
            f"Received: points.shape={points.shape}"
        )
    if not 1 <= k <= len(points):
        raise ValueError(f"`k` must be in 1..{len(points)}. Received: k={k}")
    if iterations < 1:
        raise ValueError(
            f"`iterations` must be positive. Received: iterations={iterations}"
        )
    squares = np.einsum("nd,nd->n", points, points)
    centroids = _spread(points, squares, k, np.random.default_rng(seed))
    clusters = None
    for _ in range(iterations):
        before = clusters
        clusters, distances = _assigned(points, squares, centroids)
        if before is not None and (clusters == before).all():
            break
        centroids = _means(points, clusters, distances, k)
    return KMeans(clusters, centroids)


def _spread(points, squares, k, rng):
    """Greedy k-means++ (Arthur and Vassilvitskii, 2007): rows far from the chosen
    ones are likely to be tried, and of those tried the one that helps most stays.
    """
    chosen = [rng.integers(len(points))]
    nearest = _from(points, squares, chosen)[0]
    for _ in range(1, k):
        reach = np.cumsum(nearest, dtype=np.float64)
        if reach[-1] > 0:
            tried = np.searchsorted(reach, rng.random(TRIES) * reach[-1], "right")
            tried = np.minimum(tried, len(points) - 1)
        else:  # fewer different rows than clusters
            tried = rng.integers(len(points), size=1)
        left = np.minimum(nearest, _from(points, squares, tried))
        best = left.sum(axis=1, dtype=np.float64).argmin()
        nearest = left[best]
        chosen.append(tried[best])
    return points[chosen]


def _from(points, squares, chosen):
    """Squared distances `(len(chosen), N)`, never below 0."""
    products = (-2 * points[chosen]) @ points.T
    products += squares + squares[chosen, None]
    return np.maximum(products, 0, out=products)


def _assigned(points, squares, centroids):
    """Nearest centroid of each row, the lower index on ties, and its distance."""
    clusters = np.empty(len(points), np.int64)
    distances = np.empty(len(points), np.float32)
    offsets = np.einsum("kd,kd->k", centroids, centroids)
    rows = max(1, min(TILE, 2**24 // len(centroids)))
    for start in range(0, len(points), rows):
        tile = slice(start, start + rows)
        near = points[tile] @ (2 * centroids.T) - offsets
        clusters[tile] = near.argmax(axis=1)
        distances[tile] = squares[tile] - near.max(axis=1)
    return clusters, distances


def _means(points, clusters, distances, k):
    counts = np.bincount(clusters, minlength=k)
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        far = np.argsort(-distances, kind="stable")[: len(empty)]
        clusters = clusters.copy()
        clusters[far] = empty
        counts = np.bincount(clusters, minlength=k)
    order = np.argsort(clusters, kind="stable")
    filled = np.flatnonzero(counts)
    starts = np.concatenate([[0], np.cumsum(counts[filled])[:-1]])
    centroids = np.zeros((k, points.shape[1]), np.float32)
    sums = np.add.reduceat(points[order], starts, axis=0, dtype=np.float64)
    centroids[filled] = sums / counts[filled, None]
    return centroids
