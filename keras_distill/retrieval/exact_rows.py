"""Rows whose dot products have no rounding error in float64.

A row is rounded to multiples of `2**-26` of its own scale, the power of two above
its length: an error of at most `2**-27` a component, an eighth of a float32 ulp at
1. A product of two such numbers is a multiple of `2**-52`, and partial sums stay
below 2 (Cauchy and Schwarz), so that every one of them fits the 53 bits of a
float64 exactly.
"""

import numpy as np

TILE = 4096


def rounded(rows, metric):
    """float32 rows on a grid of `2**-26` of their scale; unit rows for cosines."""
    result = np.empty(rows.shape, np.float32)
    for start in range(0, len(rows), TILE):
        # In C order, that a row's sum does not depend on how its array is laid out.
        some = rows[start : start + TILE].astype(np.float64, order="C")
        norms = np.sqrt(np.einsum("nd,nd->n", some, some))[:, None]
        if metric == "cosine":
            some /= np.where(norms == 0, 1, norms)
            exponents = 0
        else:
            exponents = np.frexp(norms)[1]
        some = np.rint(np.ldexp(some, 26 - exponents))
        result[start : start + TILE] = np.ldexp(some, exponents - 26)
    return result


def squares(rows):
    """Exact squared norms `(N,)`, float64."""
    result = np.empty(len(rows))
    for start in range(0, len(rows), TILE):
        some = rows[start : start + TILE].astype(np.float64)
        np.einsum("nd,nd->n", some, some, out=result[start : start + TILE])
    return result


def matrix(rows, name):
    """`rows` as an array of rank 2 that is not empty; `name` is for the error."""
    rows = np.asarray(rows)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"`{name}` must have shape (rows, dim), both above 0. "
            f"Received: {name}.shape={rows.shape}"
        )
    return rows


def check(rows, name, metric):
    """Refuses rows that are not finite, or too long for scores to be."""
    for start in range(0, len(rows), TILE):
        some = rows[start : start + TILE].astype(np.float64)
        finite = np.isfinite(some).all(axis=1)
        if not finite.all():
            at = finite.argmin()
            raise ValueError(
                f"`{name}` must be finite. Received: {name}[{start + at}]={some[at]}"
            )
        largest = np.abs(some).max(axis=1)
        limit = 1e150 if metric == "cosine" else 1e18 / np.sqrt(rows.shape[1])
        if largest.max() > limit:
            at = largest.argmax()
            raise ValueError(
                f"`{name}` must stay below {limit:.0e} for {metric} scores. "
                f"Received: {name}[{start + at}]={some[at]}"
            )
