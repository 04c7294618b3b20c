import numpy as np
import pytest

from train.grouping import poolings
from train.grouping.poolings import Members

rng = np.random.default_rng(0)
G, N, D = 4, 5, 6


def members(**changes):
    raw = rng.normal(size=(G, N, D)) * rng.uniform(0.2, 5, (G, N, 1))
    norms = np.linalg.norm(raw, axis=-1)
    parts = {
        "units": raw / norms[..., None],
        "norms": norms,
        "nearest": rng.uniform(size=(G, N)),
        "scores": rng.uniform(size=(G, N)),
        "truth": rng.uniform(size=(G, N)),
    }
    return Members(**{**parts, **changes})


def by_hand(units, scores, stretch):
    """Equations (6) and (7) of the method, group by group."""
    found = []
    for group, some in zip(units, scores, strict=True):
        if stretch and len(some) > 2:
            k = 1 / (max(some) - min(some))
            some = [k * s + 1 - k * max(some) for s in some]
        weights = [s / sum(some) for s in some]
        found.append(sum(w * f for w, f in zip(weights, group, strict=True)))
    return np.array(found)


def test_each_pooling_weighs_the_unit_vectors_by_its_own_scores():
    some = members()
    found = poolings.pooled(some)
    assert list(found) == list(poolings.ABOUT)
    expected = {
        "mean": some.units.mean(axis=1),
        "norm": by_hand(some.units, some.norms, False),
        "nearest proxy": by_hand(some.units, some.nearest, True),
        "DDL": by_hand(some.units, some.scores, True),
        "DDL, no stretch": by_hand(some.units, some.scores, False),
        "oracle": by_hand(some.units, some.truth, True),
        "oracle, no stretch": by_hand(some.units, some.truth, False),
    }
    for name, vectors in expected.items():
        np.testing.assert_allclose(found[name], vectors, rtol=1e-4, atol=1e-5)


def test_groups_of_two_are_not_stretched():
    some = members()
    pairs = Members(*(part[:, :2] for part in some))
    found = poolings.pooled(pairs)
    np.testing.assert_allclose(found["DDL"], found["DDL, no stretch"])


def test_weights_by_norm_give_the_mean_of_embeddings_as_they_were():
    some = members()
    raw = (some.units * some.norms[..., None]).mean(axis=1)
    found = poolings.pooled(some)["norm"]
    for one, other in zip(found, raw, strict=True):
        cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert cosine == pytest.approx(1, abs=1e-6)


def test_without_norms_there_is_no_pooling_by_norm():
    assert set(poolings.ABOUT) - set(poolings.pooled(members(norms=None))) == {"norm"}


def test_keeping_uses_only_the_best():
    some = members()
    one = poolings.weighted(some.units, some.scores, keep=1)
    best = some.scores.argmax(axis=1)
    np.testing.assert_allclose(one, some.units[np.arange(G), best], atol=1e-6)
    spoilt = some.units.copy()
    spoilt[np.arange(G), some.scores.argmin(axis=1)] = 1e6
    for k in range(1, N + 1):  # The worst has no weight, kept or not.
        np.testing.assert_allclose(
            poolings.weighted(spoilt, some.scores, keep=k),
            poolings.weighted(some.units, some.scores, keep=k),
        )


def test_nearest_is_the_indicator_with_the_nearest_class_as_the_own():
    centres = np.array([[1.0, 0], [0.6, 0.8], [0, -1]])
    units = np.array([[[1.0, 0], [0.8, 0.6]], [[0, -1], [-0.6, -0.8]]])
    cosines = [[(1, 0.6), (0.96, 0.8)], [(1, 0), (0.8, -0.6)]]
    ratios = np.array([[a / max(b, 0.05) for a, b in some] for some in cosines])
    expected = 1 / (1 + np.exp(-(ratios - 1.3) / 0.4))
    found = poolings.nearest(units, centres, mean=1.3, std=0.4)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert (poolings.nearest(units, centres, 1.3, 0.0) == 0.5).all()


def test_centroids_are_directions_of_class_means():
    features, labels = rng.normal(size=(9, 3)), np.array([0, 1, 2] * 3)
    for label, found in enumerate(poolings.centroids(features, labels)):
        mean = features[labels == label].mean(axis=0)
        np.testing.assert_allclose(found, mean / np.linalg.norm(mean))
