"""Are two vectors of one class? Measured over all pairs of two sets."""

import typing

import numpy as np

from keras_distill.metrics.labelled_rows import check_same_width, labelled_rows
from keras_distill.metrics.tar_at_far import tar_at_far, threshold_at_far
from keras_distill.retrieval import exact_rows


class Verification(typing.NamedTuple):
    """What `verification` measured, and of how many pairs.

    Attributes:
        tar: Dictionary from each false accept rate asked for to the true accept rate
            there, floats in [0, 1].
        threshold: Dictionary from the same rates to the cosine a pair must reach;
            infinite where none that occurs is strict enough.
        genuine: How many pairs were of one class.
        impostor: How many were of different classes.
    """

    tar: dict
    threshold: dict
    genuine: int
    impostor: int


def verification(first, first_labels, second, second_labels, fars=(1e-2,)):
    """True accept rates of all pairs of a row of `first` with a row of `second`.

    A pair's score is its cosine, computed from rows that are rounded as those of
    `retrieval.exact_search`: equal rows score equally, wherever they stand. The
    threshold of each rate is the conservative one of `threshold_at_far`.

    Nothing can be said of false accept rates below one impostor pair: they are
    refused. A row of zeros, which is what an empty group becomes, has cosine 0 with
    every row and counts. The two sets must not share what they were made of (two
    groups with a common image are alike for its sake): that cannot be seen here.
    All scores, one float64 a pair, are held in memory.

    Args:
        first, second: Arrays `(M, D)` and `(P, D)`, any scale: one vector a group, or
            an image.
        first_labels, second_labels: Arrays `(M,)` and `(P,)`, their classes.
        fars: False accept rates, each in [1 / impostor pairs, 1].

    Returns:
        `Verification`.

    Raises:
        ValueError: If shapes do not fit, a vector is not finite, there is no genuine
            or no impostor pair, or a rate is above 1 or below what the impostor pairs
            allow; how many there are is said.
    """
    first, first_labels = labelled_rows(first, first_labels, "first", "first_labels")
    second, second_labels = labelled_rows(
        second, second_labels, "second", "second_labels"
    )
    check_same_width(first, second, ("first", "second"))
    same = first_labels[:, None] == second_labels[None, :]  # (M, P)
    genuine, impostor = int(same.sum()), int((~same).sum())
    if not genuine or not impostor:
        raise ValueError(
            "There must be pairs of one class and pairs of different classes. "
            f"Received: {genuine} genuine and {impostor} impostor pairs"
        )
    fars = tuple(fars)
    for far in fars:
        if not 1 / impostor <= far <= 1:
            raise ValueError(
                f"With {impostor:,} impostor pairs a false accept rate must be in "
                f"[1/{impostor}, 1]: below, not one of them may pass. "
                f"Received: far={far}"
            )
    if not fars:
        raise ValueError("`fars` must hold a false accept rate. Received: fars=()")
    cosines = _unit(first) @ _unit(second).T
    scores = cosines[same], cosines[~same]
    return Verification(
        {far: tar_at_far(*scores, far) for far in fars},
        {far: threshold_at_far(*scores, far) for far in fars},
        genuine,
        impostor,
    )


def _unit(rows):
    return exact_rows.rounded(rows, "cosine").astype(np.float64)
