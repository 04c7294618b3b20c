"""What PAD logs is what statistics calls by these names."""

import numpy as np
import pytest
import scipy.stats

from keras_distill.methods.uncertainty_figures import (
    effective_sample_size,
    rank_correlation,
)

rng = np.random.default_rng(0)


def test_the_rank_correlation_is_spearmans():
    a = np.array([0.3, 0.1, 0.1, 2.0, -1.0, 0.1], "f4")
    b = np.array([5.0, 5.0, 1.0, 7.0, 1.0, 2.0], "f4")
    expected = scipy.stats.spearmanr(a, b).statistic
    np.testing.assert_allclose(rank_correlation(a, b), expected, rtol=1e-5)
    np.testing.assert_allclose(rank_correlation(a, -a), -1, rtol=1e-6)
    mask = np.array([1, 1, 0, 1, 1, 0], bool)
    np.testing.assert_allclose(
        rank_correlation(a, b, mask),
        scipy.stats.spearmanr(a[mask], b[mask]).statistic,
        rtol=1e-5,
    )


@pytest.mark.parametrize("mask", [None, np.zeros(3, bool)])
def test_equal_values_correlate_with_nothing(mask):
    rising = np.arange(3, dtype="f4")
    assert float(rank_correlation(np.ones(3, "f4"), rising, mask)) == 0
    assert float(rank_correlation(rising[:1], rising[:1])) == 0


def test_the_effective_sample_size_counts_equal_weights():
    def size(weights, mask=None):
        return float(effective_sample_size(np.log(weights).astype("f4"), mask))

    assert size(np.full((5, 3), 1e30)) == pytest.approx(5)
    assert size([[1, 7], [1e-30, 7]]) == pytest.approx(1.5)
    weights = rng.uniform(0.1, 2, (6, 1))
    expected = weights.sum() ** 2 / (weights**2).sum()
    assert size(weights) == pytest.approx(expected, rel=1e-5)
    mask = np.arange(9)[:, None] < 6
    padded = np.concatenate([weights, np.full((3, 1), 1e9)])
    assert size(padded, mask) == pytest.approx(expected, rel=1e-5)
    assert size(padded, ~np.ones((9, 1), bool)) == 0
