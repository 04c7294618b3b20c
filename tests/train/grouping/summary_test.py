import json

import numpy as np
import pytest
from scipy import stats

from tests.train.grouping.synthetic import KEYS, fold, folds
from train.grouping.poolings import ABOUT
from train.grouping.summary import Summary


def values(some, name, key):
    return np.array([one["figures"][name][key] for one in some])


def test_a_fold_is_one_value_of_the_paired_interval():
    some = folds(4)
    summary = Summary(some)
    for key in KEYS:
        ours, mean = values(some, "DDL", key), values(some, "mean", key)
        found = summary.gain("DDL", key)
        test = stats.ttest_rel(ours, mean).confidence_interval(0.95)
        np.testing.assert_allclose((found.low, found.high), test, rtol=1e-9)
        assert summary.value("DDL", key).mean == pytest.approx(ours.mean())
        assert found.count == 4


def test_the_share_of_the_oracles_gain_is_that_of_means():
    some = folds(3)
    key = "rank_1"
    gains = [
        values(some, n, key) - values(some, "mean", key) for n in ("DDL", "oracle")
    ]
    expected = gains[0].mean() / gains[1].mean()
    assert Summary(some).share("DDL", key) == pytest.approx(expected)
    for one in some:
        one["figures"]["oracle"] = one["figures"]["mean"]
    assert Summary(some).share("DDL", key) is None


def test_what_is_kept_is_compared_with_the_mean_of_all():
    some = folds(3)
    summary = Summary(some)
    assert summary.ks == [1, 2, 3, 4, 5]
    ours = np.array([one["kept"]["best"]["2"]["rank_1"] for one in some])
    expected = (ours - values(some, "mean", "rank_1")).mean()
    assert summary.kept_gain("best", 2, "rank_1").mean == pytest.approx(expected)
    assert summary.kept("best", 2, "rank_1").mean == pytest.approx(ours.mean())
    other = summary.kept("random", 2, "rank_1").mean
    assert other != pytest.approx(ours.mean(), abs=1e-6)


def test_the_headline_comes_first_and_rates_are_those_all_folds_allow():
    assert list(Summary(folds(2)).measures) == list(KEYS)
    few = [fold(0), fold(1, impostor=90)]
    assert list(Summary(few).measures) == ["tar_at_far_0.1", "rank_1", "rank_5"]
    assert Summary(few).headline == "tar_at_far_0.1"


def test_a_pooling_that_one_fold_lacks_is_left_out():
    some = folds(2)
    del some[1]["figures"]["norm"]
    assert set(ABOUT) - set(Summary(some).poolings) == {"norm"}


def test_one_fold_has_no_interval():
    found = Summary(folds(1)).gain("DDL", "rank_1")
    assert found.half is None and not found.decided


def test_it_is_json():
    whole = json.loads(json.dumps(Summary(folds(2)).as_json(), allow_nan=False))
    ours = whole["poolings"]["DDL"]["rank_1"]
    assert set(ours) == {"mean", "half", "count", "against_mean", "of_the_oracles_gain"}
    assert set(whole["kept"]["best"]) == set("12345")
    assert whole["correlation"]["count"] == 2
