import importlib

import numpy as np
import pytest

from keras_distill.metrics import k_means

module = importlib.import_module("keras_distill.metrics.k_means")
rng = np.random.default_rng(0)
POINTS = rng.normal(size=(300, 4)).astype(np.float32)


def within(points, clusters):
    """The sum of squared distances to the means of the clusters, in float64."""
    return sum(
        ((points[clusters == c] - points[clusters == c].mean(axis=0)) ** 2).sum()
        for c in np.unique(clusters)
    )


def test_finds_groups_that_lie_apart():
    centres = 20 * rng.normal(size=(12, 4))
    groups = np.repeat(np.arange(12), 25)
    found = k_means(centres[groups] + rng.normal(size=(300, 4)), 12)
    pairs = {(int(a), int(b)) for a, b in zip(groups, found.clusters, strict=True)}
    assert len(pairs) == 12 and found.clusters.shape == (300,)


def test_ends_with_means_of_the_nearest():
    clusters, centroids = k_means(POINTS, 7, iterations=200)
    distances = ((POINTS[:, None] - centroids) ** 2).sum(axis=-1)
    np.testing.assert_array_equal(clusters, distances.argmin(axis=1))
    for c in range(7):
        mean = POINTS[clusters == c].mean(axis=0)
        np.testing.assert_allclose(centroids[c], mean, atol=1e-6)


def test_more_iterations_fit_better_and_a_seed_repeats():
    fits = [within(POINTS, k_means(POINTS, 9, n).clusters) for n in (1, 3, 30)]
    assert fits[0] > fits[1] > fits[2]
    first, again, other = (k_means(POINTS, 9, seed=s).clusters for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_tiles_change_nothing(monkeypatch):
    expected = k_means(POINTS, 9).clusters
    monkeypatch.setattr(module, "TILE", 17)
    np.testing.assert_array_equal(k_means(POINTS, 9).clusters, expected)


def test_extremes():
    whole = k_means(POINTS, 1)
    assert set(whole.clusters) == {0}
    np.testing.assert_allclose(whole.centroids[0], POINTS.mean(axis=0), atol=1e-6)
    each = k_means(POINTS[:20], 20)
    assert sorted(each.clusters) == list(range(20))
    same = k_means(np.ones((6, 2)), 3)
    np.testing.assert_array_equal(same.clusters, 0)
    assert np.isfinite(same.centroids).all()


def test_an_empty_cluster_takes_the_row_that_fits_worst():
    points = np.array([[0.0], [1.0], [2.0], [50.0]], np.float32)
    clusters, distances = np.array([0, 0, 0, 0]), np.array([1.0, 0.5, 1.0, 99.0])
    centroids = module._means(points, clusters, distances, 2)
    np.testing.assert_allclose(centroids, [[1.0], [50.0]])


@pytest.mark.parametrize(
    "points, k, iterations, message",
    [
        (POINTS, 0, 9, r"`k` must be in 1..300.*k=0"),
        (POINTS, 301, 9, r"`k` must be in 1..300.*k=301"),
        (POINTS, 2, 0, "`iterations` must be positive.*iterations=0"),
        (POINTS[0], 2, 9, r"`points` must be finite.*\(4,\)"),
        (POINTS * np.nan, 2, 9, "`points` must be finite"),
    ],
)
def test_refuses_and_says_what_it_got(points, k, iterations, message):
    with pytest.raises(ValueError, match=message):
        k_means(points, k, iterations)
