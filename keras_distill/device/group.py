"""What a group of images, asked as one, gives."""

from typing import NamedTuple

import numpy as np


class Group(NamedTuple):
    """Several images as one query.

    Attributes:
        embedding: float32 array `(dim,)` of length one.
        scores: float32 array `(count,)` in [0, 1], what each image is worth.
        weights: float32 array `(count,)` with a sum of 1, how much of each image is
            in the embedding.
        embedded: Tuple of integers in ascending order, the images that were embedded
            at all: those whose weight is above 0.
    """

    embedding: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    embedded: tuple


class GroupNeighbours(NamedTuple):
    """What a group finds in a catalogue.

    Attributes:
        ids: List of `k` strings, nearest first.
        scores: float32 array `(k,)`, their cosines.
        group: The `Group` that was searched with.
    """

    ids: list
    scores: np.ndarray
    group: Group
