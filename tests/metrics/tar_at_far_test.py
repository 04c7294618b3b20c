import numpy as np
import pytest

from keras_distill.metrics import tar_at_far, threshold_at_far

rng = np.random.default_rng(0)


def by_hand(genuine, impostor, far):
    """The smallest threshold that is strict enough, tried one by one."""
    for threshold in [*sorted({*genuine, *impostor}), np.inf]:
        if sum(s >= threshold for s in impostor) / len(impostor) <= far:
            return threshold, sum(s >= threshold for s in genuine) / len(genuine)


def test_is_the_references(reference):
    f = reference("ddl_tar_at_far")
    genuine, impostor = f["scores"][f["same"]], f["scores"][~f["same"]]
    for far, tar, threshold in zip(f["far"], f["tar"], f["threshold"], strict=True):
        assert tar_at_far(genuine, impostor, far) == tar
        assert threshold_at_far(genuine, impostor, far) == threshold


@pytest.mark.parametrize("far", [0.0, 0.01, 0.1, 0.25, 0.5, 1.0])
def test_is_the_rule_with_many_ties(far):
    genuine, impostor = rng.integers(0, 9, 40) / 8, rng.integers(-3, 6, 60) / 8
    threshold, tar = by_hand(genuine, impostor, far)
    assert threshold_at_far(genuine, impostor, far) == threshold
    assert tar_at_far(genuine, impostor, far) == pytest.approx(tar)


def test_too_few_impostors_let_none_pass():
    impostor = np.linspace(0, 0.5, 100)
    assert tar_at_far([0.4, 0.6], impostor, 0.009) == 0.5
    assert tar_at_far([0.4, 0.5], impostor, 0.009) == 0.0
    assert threshold_at_far([0.4, 0.5], impostor, 0.009) == np.inf


def test_never_passes_more_impostors_than_allowed():
    genuine, impostor = rng.normal(1, 1, 500).round(1), rng.normal(0, 1, 700).round(1)
    rates = [tar_at_far(genuine, impostor, far) for far in np.linspace(0, 1, 50)]
    assert rates == sorted(rates) and rates[-1] == 1.0
    for far in (0.001, 0.01, 0.1):
        assert np.mean(impostor >= threshold_at_far(genuine, impostor, far)) <= far


@pytest.mark.parametrize(
    "genuine, impostor, far, message",
    [
        ([], [0.1], 0.1, r"`genuine` must be finite.*\(0,\)"),
        ([0.1], [[0.1]], 0.1, r"`impostor` must be.*\(1, 1\)"),
        ([np.nan], [0.1], 0.1, "`genuine` must be finite"),
        ([0.1], [0.1], 1.5, r"`far` must be in \[0, 1\].*far=1.5"),
        ([0.1], [0.1], float("nan"), "`far` must be .*far=nan"),
    ],
)
def test_refuses_and_says_what_it_got(genuine, impostor, far, message):
    with pytest.raises(ValueError, match=message):
        tar_at_far(genuine, impostor, far)
