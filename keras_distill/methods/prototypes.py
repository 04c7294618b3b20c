"""Pick the instances that say most about all instances, to two models at once."""

import math
import typing

import numpy as np

from keras_distill import ranges

# Rows shorter than this have no direction and stay zero.
_TINY = 1e-12


class Pursuit(typing.NamedTuple):
    """What a coupled matching pursuit has found.

    Attributes:
        indices: int64 `(count,)`, the rows chosen, in order; repeats are kept.
        student: Float `(count, N)`, the coefficient of each step's atom in each row.
        teacher: The same in the teacher's space.
    """

    indices: np.ndarray
    student: np.ndarray
    teacher: np.ndarray


def select_prototypes(
    student, teacher, count=10, coupling=10.0, bandwidth=0.1, quantile=0.4
):
    """Chooses the instances of one class that reconstruct all of them best.

    The same rows are prototypes in both spaces, which need not be equally wide and are
    never compared with each other: they share the index, and the coupling draws their
    coefficients together. Rows are normalised; candidates are those that `dense` lets
    through in both spaces; `pursue` picks among them.

    Prototypes themselves are the raw rows at the indices, not the normalised ones.

    A row may be chosen more than once, as in the authors' code, and where there are
    fewer candidates than `count` a few of them alternate. Where the densities leave no
    candidate (their code stops there), as with one or two instances, or with equal
    ones, all rows are candidates and `min(count, N)` of them are chosen.

    Args:
        student: `(N, Ds)`, features of N instances of one class, finite, any scale.
        teacher: `(N, Dt)`, those that the teacher has of the same instances.
        count: Integer >= 1.
        coupling: Float >= 0, see `pursue`.
        bandwidth: Float > 0, see `density`.
        quantile: Float in [0, 1), see `dense`; `None` lets every row be a candidate.

    Returns:
        int32 `(count,)`, rows in order of choice; `(min(count, N),)` where the
        densities left none, and `(0,)` where there are no rows.

    Raises:
        ValueError: If the shapes do not match, a feature is not finite, or an option
            is out of its range.

    References:
        Tang et al., ECCV 2022, https://arxiv.org/abs/2210.09022, the prototype
        generation module as the authors' code computes it. There the rows are first
        rounded to float16; here nothing is.
    """
    student, teacher = _checked(student, teacher)
    ranges.count(1, count=count)
    ranges.not_negative(coupling=coupling)
    ranges.positive(bandwidth=bandwidth)
    if quantile is not None:
        _check_quantile(quantile)
    rows = len(student)
    if not rows:
        return np.zeros(0, np.int32)
    grams = [_gram(side) for side in (student, teacher)]
    everyone = np.arange(rows)
    candidates = everyone
    if quantile is not None:
        candidates = np.flatnonzero(
            np.logical_and(*(dense(density(g, bandwidth), quantile) for g in grams))
        )
        if not len(candidates):
            candidates, count = everyone, min(count, rows)
    return pursue(*grams, candidates, count, coupling).indices.astype(np.int32)


def density(cosines, bandwidth=0.1):
    """How many instances lie near each one: `sum_j exp(-((1 - cos_ij) / bandwidth)^2)`.

    Args:
        cosines: `(N, N)`. Each instance counts itself.
        bandwidth: Float > 0, a distance of cosines.

    Returns:
        Float `(N,)` in (0, N].
    """
    scaled = (1.0 - cosines) / bandwidth
    # In place: these are the largest arrays of the selection.
    np.square(scaled, out=scaled)
    np.negative(scaled, out=scaled)
    return np.exp(scaled, out=scaled).sum(axis=1)


def dense(densities, quantile=0.4):
    """Which instances lie where others are.

    Strictly above the value at position `floor(quantile * N)` of the ascending order:
    among equal densities that is none.

    Args:
        densities: `(N,)`.
        quantile: Float in [0, 1).

    Returns:
        Boolean `(N,)`.
    """
    threshold = np.sort(densities)[math.floor(quantile * len(densities))]
    return densities > threshold


def pursue(student, teacher, candidates, count, coupling):
    """Coupled matching pursuit among unit rows in two spaces.

    The residuals R of both spaces begin as the rows. With inner products
    `i_n = <atom, R_n>` of each space, the coefficients that minimise

        sum_n |R^s_n - w^s_n s_k|^2 + |R^t_n - w^t_n t_k|^2
              + coupling * (w^s_n - w^t_n)^2

    are `w^s = ((1 + coupling) i^s + coupling i^t) / (1 + 2 coupling)`, and `w^t` with
    sides changed. Put in, the best atom is the one with the largest

        sum_n (i^s_n)^2 + (i^t_n)^2 - coupling / (1 + 2 coupling) * (i^s_n - i^t_n)^2

    Its part is taken off both residuals, and the next one is sought. Earlier
    coefficients are not solved for again, and chosen atoms stay available.

    A residual is a sum of the rows themselves, so that inner products with it follow
    from those of the rows, and no residual is ever formed: a step costs
    `len(candidates) * N`, whatever the widths.

    Args:
        student: `(N, N)`, inner products of the student's rows, which have length one.
        teacher: `(N, N)`, those of the teacher's.
        candidates: Integers `(C,)`, the rows that may be chosen. Of equally good ones
            the first is.
        count: Integer, the steps.
        coupling: Float >= 0; at 0 two pursuits merely share their choices.

    Returns:
        `Pursuit`.
    """
    share = coupling / (1.0 + 2.0 * coupling)
    inner = [side[candidates] for side in (student, teacher)]  # (C, N) each
    links = [side[:, candidates] for side in inner]  # (C, C)
    indices, coefficients = [], ([], [])
    for _ in range(count):
        # (i^s - i^t)^2 multiplied out: three sums over the data and no copy of it.
        squares = _dots(inner[0], inner[0]) + _dots(inner[1], inner[1])
        gain = (1 - share) * squares + 2 * share * _dots(*inner)
        best = int(np.argmax(gain))
        own = [i[best].copy() for i in inner]
        # (1 + a) / (1 + 2a) = 1 - a / (1 + 2a).
        found = [(1 - share) * own[s] + share * own[1 - s] for s in (0, 1)]
        for s in (0, 1):
            inner[s] -= links[s][:, best, None] * found[s]
            coefficients[s].append(found[s])
        indices.append(candidates[best])
    return Pursuit(np.asarray(indices), *map(np.stack, coefficients))


def _dots(a, b):
    """Inner product of each row of `a` with that of `b`."""
    return np.vecdot(a, b).astype(np.float64)


def _gram(rows):
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = (rows / np.maximum(lengths, _TINY)).astype(np.float32)
    return unit @ unit.T


def _checked(student, teacher):
    student, teacher = np.asarray(student), np.asarray(teacher)
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise ValueError(
            "`student` and `teacher` must be features (N, dim) of the same N "
            f"instances. Received: student.shape={student.shape}, "
            f"teacher.shape={teacher.shape}"
        )
    for name, side in (("student", student), ("teacher", teacher)):
        broken = np.flatnonzero(~np.isfinite(side).all(axis=1))
        if len(broken):
            raise ValueError(
                f"`{name}` must be finite, and {len(broken)} rows are not. "
                f"Received: {name}[{broken[0]}]={side[broken[0]]}"
            )
    return student, teacher


def _check_quantile(quantile):
    ranges.not_negative(quantile=quantile)
    if quantile >= 1:
        raise ValueError(
            "`quantile` must be below 1: nothing is denser than the densest. "
            f"Received: quantile={quantile}"
        )
