"""How much better an image is recognised as its own class than as any other."""

import math
from typing import NamedTuple

import numpy as np

CENTROIDS = ("raw", "unit")

# Cosines are computed for so many rows at a time: the full (N, K) matrix of a large
# proxy set would not fit in memory.
_ROWS = 4096

# Embedders compute in float32: smaller differences between ratios than this part of
# them are rounding, and dividing by their spread would make targets of it.
_ROUNDING = 1e-6


class Discriminability(NamedTuple):
    """What `discriminability` says of each row of a proxy set.

    Attributes:
        ratio: float64 `(N,)`, cosine to the own centroid over the largest cosine to
            another.
        mean: Float, of the ratios.
        std: Float, their population standard deviation.
        indicator: float64 `(N,)` in (0, 1), the target of a score network.
        valid: Boolean `(N,)`, whether a row has something to teach.
    """

    ratio: np.ndarray
    mean: float
    std: float
    indicator: np.ndarray
    valid: np.ndarray


def discriminability(
    features, labels, floor=0.05, leave_one_out=False, centroids="raw"
):
    """Measures how discriminable the rows of a labelled proxy set are.

        c_j = mean of the features of class j
        D_i = cos(f_i, c_own) / max(floor, max over j != own of cos(f_i, c_j))
        indicator_i = sigmoid((D_i - mean(D)) / std(D))

    with mean and population standard deviation over the whole set. DDL, Zhang et al.,
    ECCV 2020, https://arxiv.org/abs/2008.10850. The floor is ours: where few classes
    leave no other centroid on the near side, the denominator reaches 0 or changes its
    sign, and the best rows would get infinite ratios or the lowest.

    An element that is alone in its class is its own centroid: it has cosine 1 whatever
    it shows, which teaches nothing. It is never valid. With `leave_one_out`, where it
    has no centroid, its ratio and its indicator are NaN, and mean and std are those of
    the valid rows; otherwise they are those of all rows, as in the formula.

    Where all ratios are the same up to float32 rounding, all indicators are 0.5. Such
    a proxy set is too clean: there is nothing to learn from it. A row of length 0, or
    a centroid, has cosine 0 with everything.

    Args:
        features: `(N, D)`, embeddings as the model gives them, finite. Computed with
            in float64.
        labels: `(N,)`, of two classes or more; integers or strings.
        floor: Float > 0, the least denominator, a cosine. Defaults to `0.05`.
        leave_one_out: Whether a row is left out of the centroid of its class when it
            is compared with it, which takes away the advantage of small classes.
            Defaults to `False`.
        centroids: `"raw"`, means of the features as they come, where a longer
            feature weighs more; or `"unit"`, of features of length 1. Defaults to
            `"raw"`.

    Returns:
        `Discriminability(ratio, mean, std, indicator, valid)`.

    Raises:
        ValueError: If `features` and `labels` are not of these shapes, a feature is
            not finite, there is one class only or none with two elements, or an
            option is out of its range.
    """
    if not 0 < floor < math.inf:
        raise ValueError(
            f"`floor` must be positive and finite. Received: floor={floor}"
        )
    if centroids not in CENTROIDS:
        raise ValueError(
            f"`centroids` must be one of {', '.join(map(repr, CENTROIDS))}. "
            f"Received: centroids={centroids!r}"
        )
    features, labels = _checked_rows(features, labels)
    own_class, counts = _checked_classes(labels)
    members = _unit(features) if centroids == "unit" else features
    sums = np.zeros((len(counts), features.shape[1]))
    np.add.at(sums, own_class, members)
    valid = counts[own_class] > 1

    ratio = np.empty(len(features))
    for start in range(0, len(features), _ROWS):
        rows = slice(start, start + _ROWS)
        own, other = _cosines(features[rows], sums, own_class[rows])
        if leave_one_out:
            rest = _unit(sums[own_class[rows]] - members[rows])
            own = np.sum(_unit(features[rows]) * rest, axis=1)
        ratio[rows] = own / np.maximum(other, floor)
    if leave_one_out:
        ratio[~valid] = np.nan

    measured = ratio[valid] if leave_one_out else ratio
    mean, std = float(measured.mean()), float(measured.std())
    spread = std if std > _ROUNDING * np.abs(measured).max() else math.inf
    # The sigmoid, written so that no large exponent overflows.
    indicator = 0.5 * (1 + np.tanh((ratio - mean) / spread / 2))
    return Discriminability(ratio, mean, std, indicator, valid)


def score_targets(measured):
    """What a score network is fitted to.

    Args:
        measured: `Discriminability`.

    Returns:
        float64 `(N,)`, the indicators, with 0.5 where a row is not valid: there an
        indicator may be NaN, which a weight of 0 would not take out of a loss.

    Raises:
        ValueError: If all valid rows have the same indicator.
    """
    lessons = measured.indicator[measured.valid]
    if np.ptp(lessons) == 0:
        raise ValueError(
            "The images must differ in how discriminable they are: of these a "
            "scorer can learn nothing. Put degraded views among them, such as "
            "FixedViews(layers.RandomDegradation()). Received: "
            f"{len(lessons)} rows, all with the indicator {lessons[0]:.3g}"
        )
    return np.where(measured.valid, measured.indicator, 0.5)


def _cosines(features, sums, own_class):
    """Cosine of each row to the centroid of its class, and the largest to another."""
    # The direction of a sum is that of the mean.
    cosines = _unit(features) @ _unit(sums).T  # (rows, K)
    each = np.arange(len(features))
    own = cosines[each, own_class]
    cosines[each, own_class] = -math.inf
    return own, cosines.max(axis=1)


def _unit(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def _checked_rows(features, labels):
    features, labels = np.asarray(features, np.float64), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(
            "`features` must have shape (N, D) and `labels` (N,). Received: "
            f"features.shape={features.shape}, labels.shape={labels.shape}"
        )
    broken = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if len(broken):
        raise ValueError(
            f"`features` must be finite, and {len(broken)} rows are not. "
            f"Received: features[{broken[0]}]={features[broken[0]]}"
        )
    return features, labels


def _checked_classes(labels):
    """Index of each row's class, and the number of rows of each class."""
    classes, own_class, counts = np.unique(
        labels, return_inverse=True, return_counts=True
    )
    if len(classes) < 2:
        raise ValueError(
            "Discriminability compares a class with the others: `labels` must be of "
            f"two classes or more. Received: classes={classes.tolist()}"
        )
    if counts.max() < 2:
        raise ValueError(
            "Some class must have two elements or more: one that is alone is its own "
            f"centroid. Received: {len(labels)} rows of {len(classes)} classes"
        )
    return own_class, counts
