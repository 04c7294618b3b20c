"""Nearest neighbours without approximation, in fixed memory.

Three ideas make it exact, repeatable and quick:

1. Rows are rounded to multiples of `2**-26` of their own scale (an error of at
   most `2**-27`, an eighth of a float32 ulp at 1). Products of such numbers and
   all partial sums then fit the 53 bits of a float64: a dot product has one
   value, whatever the order of summation, the tile, the BLAS or its threads.
2. float32 products, twice as fast, only propose. What lies within their
   rounding bound of the k-th best so far is scored again in float64.
3. A score (float32) and an index (32 bits) make one integer key, higher scores
   first and then lower indices, so that selection is a partition of integers
   and ties need no care.
"""

from typing import Literal

import numpy as np

QUERY_TILE, GALLERY_TILE = 512, 4096
METRICS = ("cosine", "euclidean")


def exact_search(
    queries,
    gallery,
    k: int,
    metric: Literal["cosine", "euclidean"] = "cosine",
    exclude_self: bool = False,
):
    """The `k` nearest rows of `gallery` to each row of `queries`.

    Scores are the float32 nearest to the exact value for the rows as rounded
    above; the same rows give the same scores at any place, in any company. Among
    equal scores the lower gallery index comes first. A row of zeros has cosine 0
    with every row.

    Beside its inputs and results it holds one float32 copy of each input and
    some 100 MB of tiles, whatever the number of rows.

    Args:
        queries: Array `(Q, D)` of finite numbers, any scale.
        gallery: Array `(N, D)` of finite numbers, any scale.
        k: How many neighbours, in 1..N (1..N-1 with `exclude_self`).
        metric: `"cosine"` or `"euclidean"`.
        exclude_self: Leave gallery row `i` out of the results of query `i`, for
            queries that are the gallery. It is told by its index: a duplicate of
            the query stays.

    Returns:
        `scores (Q, k)` float32, descending: cosines in [-1, 1], or negative
        squared distances (<= 0); and `indices (Q, k)` int64 into `gallery`.

    Raises:
        ValueError: If an input is empty, not of rank 2, or not finite (the row is
            named), if the widths differ, if `k` is out of range, if `metric` is
            unknown, if `exclude_self` and the inputs differ in length.
    """
    size = len(np.asarray(queries))
    depths = np.full(size, _checked_k(k))
    scores = np.empty((size, k), np.float32)
    indices = np.empty((size, k), np.int64)
    own = np.arange(size) if exclude_self else None
    if exclude_self and size != len(gallery):
        raise ValueError(
            "`exclude_self` needs queries that are the gallery. Received: "
            f"len(queries)={size}, len(gallery)={len(gallery)}"
        )
    for rows, some_scores, some_indices in search_in_blocks(
        queries, gallery, depths, metric, own
    ):
        scores[rows], indices[rows] = some_scores, some_indices
    return scores, indices


def search_in_blocks(queries, gallery, depths, metric="cosine", own=None):
    """`exact_search` block by block, for results too large to hold at once.

    Args:
        queries, gallery, metric: See `exact_search`.
        depths: Int array `(Q,)`, how many neighbours each query needs. Blocks are
            of queries of similar depth, and smaller where it is large.
        own: None, or int array `(Q,)`: the gallery row each query must not find.

    Yields:
        `rows (B,)`, which queries these are; `scores (B, k)` and `indices (B, k)`
        where `k` is the largest depth among them.

    Raises:
        ValueError: See `exact_search`.
    """
    if metric not in METRICS:
        raise ValueError(f"`metric` must be one of {METRICS}. Received: {metric=}")
    queries, gallery = _checked(queries, "queries"), _checked(gallery, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "`queries` and `gallery` must have the same width. Received: "
            f"queries.shape={queries.shape}, gallery.shape={gallery.shape}"
        )
    most = len(gallery) - (own is not None)
    if max(depths) > most:
        raise ValueError(
            f"`k` must be at most {most}, the rows there are to find"
            f"{' beside the query itself' if own is not None else ''}. "
            f"Received: k={max(depths)}"
        )
    tiles = _Tiles(gallery, metric)
    order = np.argsort(depths, kind="stable")
    start = 0
    while start < len(order):
        rows = order[start : start + QUERY_TILE]
        k = int(depths[rows[-1]])
        rows = rows[: max(1, min(QUERY_TILE, 2**23 // (k + GALLERY_TILE)))]
        k = int(depths[rows[-1]])
        keys = tiles.best(queries[rows], k, None if own is None else own[rows])
        yield rows, *_unpacked(keys)
        start += len(rows)


class _Tiles:
    """A gallery made ready: rounded, and cut into tiles with their bounds."""

    def __init__(self, gallery, metric):
        self.metric = metric
        self.rows = _rounded(gallery, metric)
        self.proposing, self.squares = self.rows, None
        if metric == "euclidean":
            self.squares = _squares(self.rows)
            # [2q, -1] . [g, |g|^2] = |q|^2 - |q - g|^2 in one product.
            column = self.squares[:, None].astype(np.float32)
            self.proposing = np.concatenate([self.rows, column], axis=1)

    def best(self, queries, k, own):
        """Keys `(B, k)` of the nearest, descending."""
        queries = _rounded(queries, self.metric)
        doubles = queries.astype(np.float64)
        squares, proposing = np.ones(len(queries)), queries
        offset = np.zeros(len(queries))
        if self.metric == "euclidean":
            squares = offset = _squares(queries)
            ones = np.full((len(queries), 1), -1, np.float32)
            proposing = np.concatenate([2 * queries, ones], axis=1)
        best = np.zeros((len(queries), k), np.uint64)
        worst = np.full(len(queries), -np.inf, np.float32)
        self_at = np.full(len(queries), -1) if own is None else own
        buffer = np.empty((len(queries), GALLERY_TILE), np.float32)
        slack = (queries.shape[1] + 16) * 2.0**-24
        for start in range(0, len(self.rows), GALLERY_TILE):
            tile = slice(start, start + GALLERY_TILE)
            found = None
            if worst.min() > -np.inf:
                largest = 1.0
                if self.metric == "euclidean":
                    largest = self.squares[tile].max()
                room = slack * 2 * (squares + largest)
                limit = (worst + offset - room).astype(np.float32)
                found = _at_least(
                    proposing, self.proposing[tile], limit[:, None], buffer
                )
            if found is None:
                scores = self._score_all(doubles, squares, tile)
                inside = (self_at >= start) & (self_at < start + scores.shape[1])
                scores[inside, self_at[inside] - start] = -np.inf
                row, column = np.nonzero(scores > worst[:, None])
                scores = scores[row, column]
                column += start
            else:
                row, column = found
                column += start
                scores = self._score_pairs(doubles, squares, row, column)
                keep = (scores > worst[row]) & (column != self_at[row])
                row, column, scores = row[keep], column[keep], scores[keep]
            if len(row):
                _merge(best, worst, row, _packed(scores, column))
        best.sort(axis=1)
        return best[:, ::-1]

    def _score_all(self, queries, squares, tile):
        """Exact scores `(B, T)` of each query with each row of a tile."""
        dots = queries @ self.rows[tile].astype(np.float64).T
        return self._scores(dots, squares[:, None], tile)

    def _score_pairs(self, queries, squares, row, column):
        """Exact scores `(P,)` of query `row[p]` with gallery row `column[p]`."""
        dots = np.einsum("pd,pd->p", queries[row], self.rows[column].astype(np.float64))
        return self._scores(dots, squares[row], column)

    def _scores(self, dots, squares, where):
        # The same elementwise steps for all and for pairs: bit for bit the same.
        if self.metric == "cosine":
            scores = np.clip(dots, -1.0, 1.0, out=dots).astype(np.float32)
        else:
            dots *= 2
            dots -= self.squares[where]
            dots -= squares
            scores = np.minimum(dots, 0.0, out=dots).astype(np.float32)
        scores += 0.0  # -0.0 would sort below 0.0
        return scores


def _at_least(queries, tile, limit, buffer):
    """Pairs whose float32 product reaches `limit`; None if they are many."""
    products = buffer[:, : len(tile)]
    np.matmul(queries, tile.T, out=products)
    row, column = np.nonzero(products >= limit)
    return None if len(row) > products.size // 64 else (row, column)


def _merge(best, worst, row, keys):
    """Puts new keys, grouped by ascending `row`, among the best of their rows."""
    k = best.shape[1]
    rows, first, counts = np.unique(row, return_index=True, return_counts=True)
    table = np.zeros((len(rows), k + counts.max()), np.uint64)
    table[:, :k] = best[rows]
    which = np.repeat(np.arange(len(rows)), counts)
    table[which, k + np.arange(len(row)) - first[which]] = keys
    table.partition(table.shape[1] - k, axis=1)
    best[rows] = table[:, -k:]
    worst[rows] = _unpacked(table[:, -k])[0]


def _packed(scores, indices):
    """uint64 keys that sort by score, then by descending index."""
    bits = scores.view(np.uint32)
    # Floats order as their bits do, once negative ones are turned round.
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(2**31))
    return (ordered.astype(np.uint64) << 32) | (2**32 - 1 - indices).astype(np.uint64)


def _unpacked(keys):
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> 31, ordered & np.uint32(2**31 - 1), ~ordered)
    scores = np.where(keys == 0, np.float32(-np.inf), bits.view(np.float32))
    return scores, 2**32 - 1 - (keys & np.uint64(2**32 - 1)).astype(np.int64)


def _rounded(rows, metric):
    """float32 rows on a grid of `2**-26` of their scale; unit rows for cosines."""
    result = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), GALLERY_TILE):
        some = rows[start : start + GALLERY_TILE].astype(np.float64)
        norms = np.sqrt(np.einsum("nd,nd->n", some, some))[:, None]
        norms[norms == 0] = 1.0
        if metric == "cosine":
            some /= norms
            exponents = np.zeros(norms.shape, int)
        else:
            exponents = np.frexp(norms)[1]
        some = np.rint(np.ldexp(some, 26 - exponents))
        result[start : start + GALLERY_TILE] = np.ldexp(some, exponents - 26)
    return result


def _squares(rows):
    """Exact squared norms `(N,)`, float64."""
    result = np.empty(len(rows))
    for start in range(0, len(rows), GALLERY_TILE):
        some = rows[start : start + GALLERY_TILE].astype(np.float64)
        result[start : start + GALLERY_TILE] = np.einsum("nd,nd->n", some, some)
    return result


def _checked_k(k):
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"`k` must be a positive integer. Received: k={k}")
    return int(k)


def _checked(rows, name):
    rows = np.asarray(rows)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"`{name}` must have shape (rows, dim), both above 0. "
            f"Received: {name}.shape={rows.shape}"
        )
    for start in range(0, len(rows), GALLERY_TILE):
        finite = np.isfinite(rows[start : start + GALLERY_TILE]).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"`{name}` must be finite. Received: {name}[{start + finite.argmin()}]"
                f"={rows[start + finite.argmin()]}"
            )
    return rows
