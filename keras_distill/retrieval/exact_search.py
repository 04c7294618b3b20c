"""Nearest neighbours without approximation, in fixed memory.

Three ideas make it exact, repeatable and quick:

1. Rows are rounded a little (`exact_rows`), so that a dot product in float64 has
   no rounding error: one value, whatever the order of summation, the tile, the
   BLAS or its threads.
2. float32 products, twice as fast, only propose: the best `k` and a few more are
   scored again in float64. Where rounding might have hidden a better row behind
   those (the last one proposed is too near to the k-th), all rows are.
3. A score and an index make one integer (`score_keys`), so that selection is a
   partition of integers and ties need no care.
"""

import collections
import concurrent.futures
import contextlib
import os
from typing import Literal

import numpy as np

from keras_distill.retrieval import exact_rows, score_keys
from keras_distill.retrieval.one_blas_thread import one_blas_thread

METRICS = ("cosine", "euclidean")
# Tiles of products that stay in the second and third level of cache. A gallery
# begins with small ones: they make the bar that later tiles must clear.
QUERY_TILE, FIRST_TILE, GALLERY_TILE = 512, 1024, 2048
PAIRS = 2**13  # scored again at once
MOST_WORKERS = 8


def exact_search(
    queries,
    gallery,
    k: int,
    metric: Literal["cosine", "euclidean"] = "cosine",
    exclude_self: bool = False,
):
    """The `k` nearest rows of `gallery` to each row of `queries`.

    A score is the float32 nearest to the exact value for the rows as rounded
    above; the same two rows score the same at any place and in any company. Among
    equal scores the lower gallery index comes first. A row of zeros has cosine 0
    with every row.

    Beside its inputs and results it holds one float32 copy of the gallery, and
    some 40 MB a thread (100 MB where `k` is in the thousands). It uses up to 8
    threads, and meanwhile holds the BLAS of the process to one.

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
            unknown, if squared distances exceed float32, or if `exclude_self`
            and the inputs differ in length.
    """
    queries, gallery = (
        exact_rows.matrix(queries, "queries"),
        exact_rows.matrix(gallery, "gallery"),
    )
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"`k` must be a positive integer. Received: k={k}")
    if exclude_self and len(queries) != len(gallery):
        raise ValueError(
            "`exclude_self` needs queries that are the gallery. Received: "
            f"queries.shape={queries.shape}, gallery.shape={gallery.shape}"
        )
    k = int(k)
    depths = np.full(len(queries), k)
    own = np.arange(len(queries)) if exclude_self else None
    scores = np.empty((len(queries), k), np.float32)
    indices = np.empty((len(queries), k), np.int64)
    for block in search_in_blocks(queries, gallery, depths, metric, own):
        rows, scores[rows], indices[rows] = block
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
    queries, gallery = (
        exact_rows.matrix(queries, "queries"),
        exact_rows.matrix(gallery, "gallery"),
    )
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
    exact_rows.check(queries, "queries", metric)
    exact_rows.check(gallery, "gallery", metric)
    gallery = _Gallery(gallery, metric)

    def searched(rows):
        k = int(depths[rows[-1]])
        keys = gallery.nearest(queries[rows], k, None if own is None else own[rows])
        return rows, *score_keys.unpacked(keys)

    blocks = _blocks(depths)
    if len(blocks) == 1:
        yield searched(blocks[0])
        return
    workers = min(MOST_WORKERS, len(blocks), _cores())
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        stack.callback(pool.shutdown, cancel_futures=True)
        running = collections.deque()
        for rows in blocks:
            running.append(pool.submit(searched, rows))
            if len(running) > workers:  # one waits, that no worker does
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


class _Gallery:
    """A gallery made ready: rounded, with what float32 products need."""

    def __init__(self, rows, metric):
        self.metric = metric
        self.rows = exact_rows.rounded(rows, metric)
        self.squares, self.factors = None, self.rows
        if metric == "euclidean":
            self.squares = exact_rows.squares(self.rows)
            # [2q, -1] . [g, |g|^2] = |q|^2 - |q - g|^2 in one product.
            column = self.squares[:, None].astype(np.float32)
            self.factors = np.concatenate([self.rows, column], axis=1)
        # Of a float32 product, as a share of the sum of its terms' magnitudes; with
        # room for what is rounded before and after it.
        terms = (self.factors.shape[1] + 8) * 2.0**-24
        self.rounding = terms / (1 - terms)

    def nearest(self, queries, k, own):
        """Keys `(B, k)` of the nearest to each query, descending."""
        rows = exact_rows.rounded(queries, self.metric)
        queries = rows.astype(np.float64)
        own = np.full(len(rows), -1) if own is None else own
        more = k + k // 8 + 9
        if more > len(self.rows) // 16:
            return self._all_scored(queries, own, k)
        factors, magnitude = rows, 1.0
        if self.metric == "euclidean":
            factors = np.concatenate(
                [2 * rows, np.full((len(rows), 1), -1, np.float32)], axis=1
            )
            magnitude = exact_rows.squares(rows) + 3 * self.squares.max()

        def propose(start, stop, out):
            return np.matmul(factors, self.factors[start:stop].T, out=out)

        proposed = self._best(len(rows), more, propose)
        guesses, indices = score_keys.unpacked(proposed)
        others = indices != own[:, None]
        # Sorted, so that the k-th that is not the query is at k - 1 or at k.
        at = k - 1 + ~others[:, :k].all(axis=1)
        gap = guesses[np.arange(len(rows)), at].astype(np.float64) - guesses[:, -1]
        row, column = np.nonzero(others)
        pairs = row, indices[row, column]
        keys = np.zeros(proposed.shape, np.uint64)
        scores = self._score_pairs(queries, *pairs)
        keys[row, column] = score_keys.packed(scores, pairs[1])
        keys = score_keys.descending(keys)[:, :k]
        unsure = np.flatnonzero(gap <= 2 * self.rounding * magnitude)
        if len(unsure):
            keys[unsure] = self._all_scored(queries[unsure], own[unsure], k)
        return keys

    def _all_scored(self, queries, own, k):
        """`nearest` from exact scores alone."""

        def score(start, stop, out):
            tile = slice(start, stop)
            dots = queries @ self.rows[tile].astype(np.float64).T
            out[:] = self._scores(dots, queries[:, None], tile)
            inside = (own >= start) & (own < stop)
            out[inside, own[inside] - start] = -np.inf
            return out

        return self._best(len(queries), k, score)

    def _best(self, size, k, score):
        """Keys `(size, k)` of the highest scores, descending.

        `score(start, stop, out)` fills `out (size, stop - start)`.
        """
        best = np.zeros((size, k), np.uint64)
        worst = np.full(size, -np.inf, np.float32)
        edges = _edges(len(self.rows), k)
        buffer = np.empty(size * np.diff(edges).max(), np.float32)
        mask = np.empty(len(buffer), bool)
        for start, stop in zip(edges, edges[1:], strict=False):
            shape = size, stop - start
            scores = score(start, stop, buffer[: size * shape[1]].reshape(shape))
            better = mask[: scores.size].reshape(shape)
            # Not those equal to the worst: the earlier row wins a tie.
            found = _where_few(np.greater(scores, worst[:, None], out=better))
            if found is None:
                keys = score_keys.packed(scores, np.arange(start, stop))
                table = np.concatenate([best, keys], axis=1)
                best, worst = score_keys.largest(table, k)
            else:
                row, column = found
                keys = score_keys.packed(scores[row, column], column + start)
                score_keys.merge(best, worst, row, keys)
        return score_keys.descending(best)

    def _score_pairs(self, queries, row, column):
        """Exact scores `(P,)` of query `row[p]` with gallery row `column[p]`."""
        scores = np.empty(len(row), np.float32)
        for start in range(0, len(row), PAIRS):
            some = slice(start, start + PAIRS)
            left, where = queries[row[some]], column[some]
            dots = np.einsum("pd,pd->p", left, self.rows[where].astype(np.float64))
            scores[some] = self._scores(dots, left, where)
        return scores

    def _scores(self, dots, queries, where):
        """float32 scores from exact products, elementwise: for tiles and pairs."""
        if self.metric == "cosine":
            np.clip(dots, -1.0, 1.0, out=dots)
        else:
            dots *= 2
            dots -= self.squares[where]
            dots -= np.einsum("...d,...d->...", queries, queries)
            np.minimum(dots, 0.0, out=dots)
        return dots.astype(np.float32) + np.float32(0)  # keys know no -0.0


def _where_few(mask):
    """Where `(B, T)` bools are true, row by row; None if that is in many places."""
    if np.count_nonzero(mask) > mask.size // 16:
        return None
    flat = mask.ravel()
    words = len(flat) // 8 * 8
    # Eight at a time, as nearly all are false.
    some = np.flatnonzero(flat[:words].view(np.uint64))[:, None] * 8 + np.arange(8)
    some = np.append(some.ravel(), np.arange(words, len(flat)))
    return np.divmod(some[flat[some]], mask.shape[1])


def _blocks(depths):
    """Groups of queries of similar depth, whose tiles hold at most 2**21 scores."""
    order = np.argsort(depths, kind="stable")
    blocks = []
    while len(order):
        k = int(depths[order[:QUERY_TILE][-1]])
        size = max(1, min(QUERY_TILE, 2**21 // max(k, GALLERY_TILE)))
        blocks.append(order[:size])
        order = order[size:]
    return blocks


def _edges(size, k):
    """Where the tiles of a gallery begin and end: wider where many are kept."""
    edges = [0]
    while edges[-1] < size:
        step = min(max(edges[-1], FIRST_TILE), max(k, GALLERY_TILE))
        edges.append(min(edges[-1] + step, size))
    return edges


def _cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
