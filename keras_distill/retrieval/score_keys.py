"""A score and an index in one integer, so that sorting needs no tie-breaking."""

import numpy as np


def packed(scores, indices):
    """Keys that sort by score, and among equal scores by descending index.

    Args:
        scores: float32 array, no NaN and no -0.0.
        indices: Int array in 0..2**32 - 1, of a shape that broadcasts to it.

    Returns:
        uint64 array; 0 is below every key and stands for none.
    """
    # Floats order as their bits do, once those of negative ones are turned round.
    bits = scores.view(np.int32)
    keys = (bits ^ (bits >> 31 | -(2**31))).view(np.uint32).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= (2**32 - 1 - indices).astype(np.uint64)
    return keys


def unpacked(keys):
    """Keys to scores (float32, -inf for none) and indices (int64)."""
    ordered = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(ordered >> 31, ordered & np.uint32(2**31 - 1), ~ordered)
    scores = np.where(keys == 0, np.float32(-np.inf), bits.view(np.float32))
    return scores, 2**32 - 1 - (keys & np.uint64(2**32 - 1)).astype(np.int64)


def merge(best, worst, row, keys):
    """Puts new keys among the best of their rows, in place.

    Args:
        best: uint64 array `(B, k)`, in any order.
        worst: float32 array `(B,)`, the score of the smallest of each row.
        row: Int array `(P,)`, ascending: the row of each key.
        keys: uint64 array `(P,)`.
    """
    if not len(row):
        return
    k = best.shape[1]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    rows, counts = row[first], np.diff(first, append=len(row))
    table = np.zeros((len(rows), k + counts.max()), np.uint64)
    table[:, :k] = best[rows]
    which = np.repeat(np.arange(len(rows)), counts)
    table[which, k + np.arange(len(row)) - first[which]] = keys
    best[rows], worst[rows] = largest(table, k)


def largest(table, k):
    """The `k` largest of each row of keys, the smallest of them first, its score.

    Reorders `table`.
    """
    table.partition(table.shape[1] - k, axis=1)
    return table[:, -k:], unpacked(table[:, -k])[0]


def descending(keys):
    """The keys of each row, sorted."""
    return np.sort(keys, axis=1)[:, ::-1]
