import math

import numpy as np
import pytest
from scipy import stats

from train.comparison.statistics import differences, estimate


def test_the_interval_of_three_values_by_hand():
    # Mean 2, deviation 1; the 0.975 quantile of t with 2 degrees of freedom is 4.3027.
    value = estimate([1.0, 2.0, 3.0])
    assert value.mean == 2.0 and value.count == 3
    assert value.half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert (value.low, value.high) == (2 - value.half, 2 + value.half)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_the_interval_is_that_of_the_t_test(count):
    values = np.random.default_rng(count).normal(0.3, 1, count)
    test = stats.ttest_1samp(values, 0)
    expected = test.confidence_interval(0.95)
    value = estimate(values)
    np.testing.assert_allclose((value.low, value.high), expected, rtol=1e-10)
    assert value.decided == (test.pvalue < 0.05)


def test_the_paired_interval_is_that_of_the_paired_t_test():
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.05, 6)
    better = base + rng.normal(0.01, 0.005, 6)
    gains = differences(dict(enumerate(better)), dict(enumerate(base)))
    expected = stats.ttest_rel(better, base).confidence_interval(0.95)
    value = estimate(gains.values())
    np.testing.assert_allclose((value.low, value.high), expected, rtol=1e-10)
    assert value.decided
    # What pairing is for: the same figures, taken for unrelated ones, say nothing.
    assert not (stats.ttest_ind(better, base).pvalue < 0.05)


def test_only_common_seeds_are_paired():
    assert differences({0: 0.5, 2: 0.75}, {2: 0.5, 3: 0.25}) == {2: 0.25}


def test_one_value_has_no_interval_and_none_has_no_mean():
    value = estimate([0.7])
    assert (value.mean, value.half, value.count) == (0.7, None, 1)
    assert (value.low, value.high) == (-math.inf, math.inf) and not value.decided
    assert estimate([]) is None


def test_equal_values_decide_nothing():
    value = estimate([0.1, 0.1])
    assert value.half == 0 and not value.decided
    value = estimate([0.1, 0.1, 0.1])
    assert value.half != 0 and not value.decided, "floats round"


@pytest.mark.parametrize("hits", [(5, 400), (5, 400, 731), tuple(range(0, 700, 70))])
@pytest.mark.parametrize("more", [1, 7])
def test_the_same_number_of_hits_more_decides_nothing(hits, more):
    """Figures as they are stored, of 820 queries: k / 820 to six digits."""
    base = {seed: round(k / 820, 6) for seed, k in enumerate(hits)}
    others = {seed: round((k + more) / 820, 6) for seed, k in enumerate(hits)}
    value = estimate(differences(others, base).values())
    assert value.half != 0, "an example that rounding spreads"
    assert not value.decided


def test_a_hit_of_spread_may_decide():
    values = [round(k / 820, 6) for k in (400, 401, 401)]
    assert estimate(values).decided
