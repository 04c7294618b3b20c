"""Which characters look the same, told from their drawings alone."""

import numpy as np

OUTLINE = 64  # pixels of the drawings that are compared
TOLERANCE = 0.002  # squared difference by squared ink


def look_alikes(outlines, codes, fonts):
    """Groups code points that share a drawing.

    Two are joined when in one font their drawings differ by at most `TOLERANCE`, or
    when any two of their drawings are equal; joining is transitive.

    Args:
        outlines: uint8 `(N, 64, 64)`, ink bright.
        codes: `(N,)` code points.
        fonts: N names.

    Returns:
        `(N,)` integers: the lowest code point of the group of each drawing.
    """
    groups = _Groups(codes)
    first = {}
    for outline, code in zip(outlines, codes, strict=True):
        groups.join(first.setdefault(outline.tobytes(), code), code)
    fonts = np.asarray(fonts)
    for font in np.unique(fonts):
        rows = np.flatnonzero(fonts == font)
        for one, other in _close_pairs(outlines[rows]):
            groups.join(codes[rows[one]], codes[rows[other]])
    return np.array([groups.lowest(code) for code in codes])


def distinct(outlines, order, groups):
    """Drops drawings that repeat an earlier one of their group.

    Args:
        outlines: uint8 `(N, 64, 64)`.
        order: `(N,)` rows; the rows of a group lie together.
        groups: `(N,)` group of each row.

    Returns:
        The rows of `order` to keep: each differs from all kept before it in its group
        by more than `TOLERANCE`.
    """
    kept = []
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    for rows in np.split(order, cuts):
        repeats = set()
        for one, other in _close_pairs(outlines[rows]):
            if one not in repeats:
                repeats.add(other)
        kept.append(np.delete(rows, list(repeats)))
    return np.concatenate(kept)


def _close_pairs(outlines):
    """Pairs of rows whose drawings differ by at most `TOLERANCE`, in order."""
    # Averaging over 4 x 4 pixels never makes a squared difference larger, but may
    # make the ink smaller: compared with the full ink, it misses no pair and is
    # 16 times faster.
    count = len(outlines)
    full = outlines.reshape(count, -1)
    ink = np.array([np.sum(np.square(row, dtype=np.int64)) for row in full])
    small = outlines.reshape(count, 16, 4, 16, 4).sum((2, 4), dtype=np.float32) / 4
    small = small.reshape(count, -1)
    norms = np.sum(small**2, axis=1)
    for start in range(0, count, 1024):
        block = slice(start, start + 1024)
        squared = norms[block, None] + norms - 2 * small[block] @ small.T
        bound = TOLERANCE * np.minimum(ink[block, None], ink)
        # The slack covers the rounding of the expansion above.
        ones, others = np.nonzero(squared <= bound + 1e-4 * norms[block, None])
        ones += start
        later = ones < others
        for one, other in zip(ones[later], others[later], strict=True):
            # In integers, so that no order of summation decides a close call.
            difference = np.subtract(full[one], full[other], dtype=np.int32)
            if np.vdot(difference, difference) <= TOLERANCE * min(ink[one], ink[other]):
                yield one, other


class _Groups:
    """Disjoint sets of code points, known by their lowest member."""

    def __init__(self, codes):
        self._parent = {int(code): int(code) for code in codes}

    def lowest(self, code):
        code = int(code)
        while self._parent[code] != code:
            self._parent[code] = self._parent[self._parent[code]]
            code = self._parent[code]
        return code

    def join(self, one, other):
        low, high = sorted((self.lowest(one), self.lowest(other)))
        self._parent[high] = low
