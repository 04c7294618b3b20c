"""Exact search by cosine over unit rows, with numpy."""

import numpy as np

# Scores held at a time: 16 MiB of float32.
TILE = 1 << 22


def nearest(queries, rows, k):
    """The `k` rows nearest to each query.

    Args:
        queries: float32 array `(Q, D)`, rows of length one.
        rows: float32 array `(N, D)`, rows of length one.
        k: Integer in 1..N.

    Returns:
        `scores (Q, k)` float32, cosines in descending order, and `indices (Q, k)`
        int64 into `rows`; of equal scores the lower index comes first.
    """
    scores = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int64)
    tile = max(1, TILE // len(rows))
    for start in range(0, len(queries), tile):
        products = queries[start : start + tile] @ rows.T
        # The k-th best score of each: all above it belong, and the first equal ones.
        least = np.partition(products, len(rows) - k, axis=1)[:, len(rows) - k]
        for i, (product, limit) in enumerate(zip(products, least, strict=True)):
            some = np.flatnonzero(product >= limit)
            some = some[np.argsort(-product[some], kind="stable")][:k]
            scores[start + i], indices[start + i] = product[some], some
    return scores, indices
