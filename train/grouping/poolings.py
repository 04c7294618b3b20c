"""The ways of making one vector of a group that are compared with each other.

All of them weigh the same unit vectors, so that nothing but the weights differs: a
mean of embeddings as they come is another one by its normalisation alone.
"""

import typing

import numpy as np

FLOOR = 0.05  # of a denominator, as in `kd.methods.ddl.discriminability`
BASELINE, OURS, BEST = "mean", "DDL", "oracle"

ABOUT = {
    "mean": "all members weigh the same",
    "norm": "by the length of the embedding before it is made 1, which is, but for its "
    "length, the mean of the embeddings as they were",
    "nearest proxy": "by the cosine to the nearest centroid of a proxy class over that "
    "to the second nearest, as the indicator: no scorer",
    "DDL": "by the scorer; the worst of a group of three or more gets 0",
    "DDL, no stretch": "by the scorer's output, divided by the sum",
    "oracle": "as DDL, by the true indicators, which need the labels",
    "oracle, no stretch": "as above, divided by the sum",
}


class Members(typing.NamedTuple):
    """What is known of the members of groups.

    Attributes:
        units: Array `(G, N, D)`, unit vectors.
        norms: Array `(G, N)`, the lengths of embeddings; `None` if unknown.
        nearest: Array `(G, N)` in (0, 1), see `nearest`.
        scores: Array `(G, N)` in (0, 1), the scorer's.
        truth: Array `(G, N)` in (0, 1), the true indicators.
    """

    units: np.ndarray
    norms: np.ndarray | None
    nearest: np.ndarray
    scores: np.ndarray
    truth: np.ndarray


def pooled(members):
    """Vectors of groups, by each pooling.

    Args:
        members: `Members`.

    Returns:
        Dictionary from the names in `ABOUT` to arrays `(G, D)`, not normalised; without
        `"norm"` where norms are not known.
    """
    equal = np.ones(members.scores.shape, "float32")
    found = {"mean": weighted(members.units, equal)}
    if members.norms is not None:
        found["norm"] = weighted(members.units, members.norms, stretch=False)
    found["nearest proxy"] = weighted(members.units, members.nearest)
    for name, scores in (("DDL", members.scores), ("oracle", members.truth)):
        found[name] = weighted(members.units, scores)
        found[f"{name}, no stretch"] = weighted(members.units, scores, stretch=False)
    return {name: found[name] for name in ABOUT if name in found}


def weighted(units, scores, stretch=True, keep=None):
    """Vectors `(G, D)` of groups by the scores of their members.

    Args:
        units: Array `(G, N, D)`.
        scores: Array `(G, N)`, not negative.
        stretch: Whether scores of groups of three or more are stretched to [0, 1].
        keep: How many of the best of each group to use; `None` for all.
    """
    from keras_distill.methods.ddl import pool_groups

    above = 2 if stretch else scores.shape[1]
    return np.asarray(pool_groups(units, scores, rescale_above=above, keep=keep))


def nearest(units, centroids, mean, std):
    """How clearly each vector is of one proxy class, without its label.

        sigmoid((cos to the nearest centroid / cos to the second nearest - mean) / std)

    The indicator of DDL with the nearest class in the place of the own. What an unseen
    class is told by is that it is like one proxy class and not like two.

    Args:
        units: Array `(..., D)` of unit vectors.
        centroids: Array `(K, D)` of unit vectors.
        mean, std: Floats, of the ratios of the proxy set.

    Returns:
        Array `(...)` in (0, 1).
    """
    cosines = units @ centroids.T  # (..., K)
    second, first = np.moveaxis(np.partition(cosines, -2, axis=-1)[..., -2:], -1, 0)
    ratio = first / np.maximum(second, FLOOR)
    # The sigmoid, written so that no large exponent overflows.
    return 0.5 * (1 + np.tanh((ratio - mean) / (std or np.inf) / 2))


def centroids(features, labels):
    """Unit vectors `(K, D)`: the directions of the class means."""
    sums = np.zeros((labels.max() + 1, features.shape[1]))
    np.add.at(sums, labels, features)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.where(lengths > 0, lengths, 1)
