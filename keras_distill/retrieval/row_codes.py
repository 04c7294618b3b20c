"""Rows in two bytes a number: one to find candidates by, one more to score them."""

from typing import NamedTuple

import numpy as np

LEVELS = 127  # of either sign


class RowCodes(NamedTuple):
    """`row = mean + scales * (step * codes + residual_step * residuals)`.

    Attributes:
        mean: float32 array `(D,)`.
        scales: float32 array `(D,)`, above 0.
        step, residual_step: Floats.
        codes, residuals: int8 arrays `(N, D)` in [-127, 127].
    """

    mean: np.ndarray
    scales: np.ndarray
    step: float
    residual_step: float
    codes: np.ndarray
    residuals: np.ndarray

    def decoded(self):
        """float32 array `(N, D)`: the rows as they can be told from the codes."""
        residuals = np.float32(self.residual_step) * self.residuals
        return self.mean + self.scales * (
            np.float32(self.step) * self.codes + residuals
        )


def row_codes(rows):
    """Codes rows so that products with a query keep 16 bits of each number.

    A number is coded in steps of 1/127 of the largest distance that its column has
    from the column's mean, and what is left in steps of 1/254 of those. Embeddings of
    one network lie in a cone: taking its axis off, and each column by its own scale,
    made the first byte 12 times as exact on a catalogue of an untrained network, and
    changes a query's scores by the same amount for all rows.

    Args:
        rows: float array `(N, D)`, finite.

    Returns:
        `RowCodes`.
    """
    rows = np.asarray(rows, np.float32)
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = rows - mean
    scales = np.abs(centred).max(axis=0)
    # A column that is the same for all rows is in the mean.
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    centred /= scales
    step = np.float32(1 / LEVELS)
    codes = np.rint(centred / step)
    residual_step = np.float32(step / (2 * LEVELS))
    residuals = np.rint((centred - codes * step) / residual_step)
    whole = [
        np.clip(part, -LEVELS, LEVELS).astype(np.int8) for part in (codes, residuals)
    ]
    return RowCodes(mean, scales, float(step), float(residual_step), *whole)
