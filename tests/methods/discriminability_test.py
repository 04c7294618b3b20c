"""An indicator says how much nearer a row is to its own class than to any other."""

import numpy as np
import pytest

from keras_distill.methods import ddl
from keras_distill.methods.discriminability import discriminability

rng = np.random.default_rng(0)
LABELS = np.repeat([7, 2, 9, 4], [5, 3, 6, 2])
FEATURES = rng.normal(size=(4, 6))[np.unique(LABELS, return_inverse=True)[1]]
FEATURES += 0.5 * rng.normal(size=FEATURES.shape)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def ratio_by_hand(row, floor=0.05, leave_one_out=False, unit=False):
    """The formula, one row at a time."""
    members = FEATURES
    if unit:
        members = np.array([f / np.linalg.norm(f) for f in FEATURES])
    cosines = {}
    for label in set(LABELS.tolist()):
        inside = [i for i in range(len(LABELS)) if LABELS[i] == label]
        if leave_one_out:
            inside = [i for i in inside if i != row]
        centroid = sum(members[i] for i in inside) / len(inside)
        cosines[label] = cosine(FEATURES[row], centroid)
    own = cosines.pop(LABELS[row])
    return own / max(floor, *cosines.values())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    "options, by_hand",
    [
        ({}, {}),
        ({"floor": 0.3}, {"floor": 0.3}),
        ({"centroids": "unit"}, {"unit": True}),
        ({"leave_one_out": True}, {"leave_one_out": True}),
        (
            {"centroids": "unit", "leave_one_out": True},
            {"unit": True, "leave_one_out": True},
        ),
    ],
)
def test_is_the_formula(options, by_hand):
    found = discriminability(FEATURES, LABELS, **options)
    ratios = [ratio_by_hand(row, **by_hand) for row in range(len(LABELS))]
    mean = sum(ratios) / len(ratios)
    std = np.sqrt(sum((ratio - mean) ** 2 for ratio in ratios) / len(ratios))
    np.testing.assert_allclose(found.ratio, ratios, rtol=1e-12)
    np.testing.assert_allclose((found.mean, found.std), (mean, std), rtol=1e-12)
    wanted = [sigmoid((ratio - mean) / std) for ratio in ratios]
    np.testing.assert_allclose(found.indicator, wanted, rtol=1e-12)
    assert found.valid.all()


def test_equals_the_reference(reference):
    case = reference("ddl_indicator_raw")
    found = ddl.discriminability(case["features"], case["labels"])
    np.testing.assert_allclose(found.ratio, case["ratio"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.mean, case["mean"], rtol=1e-5)
    np.testing.assert_allclose(found.std, case["std_population"], rtol=1e-5)
    np.testing.assert_allclose(found.indicator, case["indicator"], rtol=1e-5)


@pytest.mark.parametrize("floor", [0.05, 0.2])
def test_where_no_other_centroid_is_near_the_floor_divides(reference, floor):
    case = reference("ddl_indicator_hostile")
    found = discriminability(case["features"], case["labels"], floor)
    key = f"floor{floor}"
    np.testing.assert_allclose(found.ratio, case[f"ratio_{key}"], rtol=1e-5)
    np.testing.assert_allclose(found.mean, case[f"mean_{key}"], rtol=1e-5)
    np.testing.assert_allclose(found.std, case[f"std_{key}"], rtol=1e-5)
    np.testing.assert_allclose(found.indicator, case[f"indicator_{key}"], rtol=1e-5)
    # The last is alone in its class: a figure, but nothing to learn from.
    np.testing.assert_array_equal(found.valid, [True] * 5 + [False])


def test_left_out_what_is_alone_has_no_figure_and_does_not_count(reference):
    case = reference("ddl_indicator_hostile")
    found = discriminability(case["features"], case["labels"], leave_one_out=True)
    ratio, indicator = "ratio_leave_one_out_floor005", "indicator_leave_one_out"
    np.testing.assert_allclose(found.ratio, case[ratio], rtol=1e-5)
    np.testing.assert_allclose(found.mean, case["mean_leave_one_out"], rtol=1e-5)
    np.testing.assert_allclose(found.std, case["std_leave_one_out"], rtol=1e-5)
    np.testing.assert_allclose(found.indicator, case[indicator], rtol=1e-5)
    np.testing.assert_array_equal(found.valid, case["valid_leave_one_out"])


def test_a_duplicate_or_a_longer_row_pulls_raw_centroids_but_length_no_unit_ones():
    longer = FEATURES * np.linspace(1, 4, len(FEATURES))[:, None]
    raw = [discriminability(f, LABELS).ratio for f in (FEATURES, longer)]
    unit = [discriminability(f, LABELS, centroids="unit") for f in (FEATURES, longer)]
    assert np.abs(raw[0] - raw[1]).max() > 1e-3
    np.testing.assert_allclose(unit[0].ratio, unit[1].ratio, rtol=1e-12)


def test_order_and_names_of_classes_do_not_matter():
    found = discriminability(FEATURES, LABELS)
    order = rng.permutation(len(LABELS))
    names = np.array([f"class {label}" for label in LABELS])
    again = discriminability(FEATURES[order], names[order])
    np.testing.assert_allclose(again.indicator, found.indicator[order], rtol=1e-10)


def test_many_rows_are_computed_in_parts(monkeypatch):
    whole = discriminability(FEATURES, LABELS, leave_one_out=True)
    module = "keras_distill.methods.discriminability._ROWS"
    monkeypatch.setattr(module, 3)
    parts = discriminability(FEATURES, LABELS, leave_one_out=True)
    np.testing.assert_allclose(parts.ratio, whole.ratio, rtol=1e-12)


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("noise", [0, 1e-8])
def test_a_set_of_equal_ratios_has_indicators_of_a_half(leave_one_out, noise):
    # Rounding of an embedder's float32 is no difference to learn.
    features = np.repeat(np.eye(3) + 0.5, 4, axis=0)
    features = features + noise * rng.normal(size=features.shape)
    labels = np.repeat([0, 1, 2], 4)
    found = discriminability(features, labels, leave_one_out=leave_one_out)
    np.testing.assert_allclose(found.indicator, 0.5, atol=1e-6)
    np.testing.assert_allclose(found.std, 0, atol=1e-6)


def test_one_outlier_among_very_many_overflows_nothing():
    features = np.tile([[1.0, 0.1], [0.1, 1.0]], (20000, 1))
    labels = np.tile([0, 1], 20000)
    features[0] = [-5.0, 5.0]
    found = discriminability(features, labels, centroids="unit")
    assert found.indicator[0] == 0 and np.isfinite(found.indicator).all()


def test_a_row_of_zeros_resembles_nothing():
    features = np.concatenate([FEATURES, np.zeros((1, 6))])
    found = discriminability(features, np.append(LABELS, 7))
    assert found.ratio[-1] == 0 and np.isfinite(found.indicator).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_half_precision_is_computed_with_in_float64(dtype):
    features = FEATURES.astype(dtype)
    found = discriminability(features, LABELS)
    wanted = discriminability(features.astype("float64"), LABELS)
    assert found.ratio.dtype == found.indicator.dtype == np.float64
    np.testing.assert_array_equal(found.indicator, wanted.indicator)


NAN = np.where(np.arange(12).reshape(4, 3) == 5, np.nan, 1.0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.ones((4, 3)), [1, 1, 1, 1]), r"two classes or more.*classes=\[1\]"),
        ((np.ones((0, 3)), []), r"two classes or more.*classes=\[\]"),
        ((np.ones((3, 3)), [1, 2, 3]), "two elements or more.*3 rows of 3 classes"),
        ((np.ones((4, 3)), [1, 1, 2]), r"\(N, D\).*\(4, 3\), labels.shape=\(3,\)"),
        ((np.ones(4), [1, 1, 2, 2]), r"\(N, D\).*features.shape=\(4,\)"),
        ((NAN, [1, 1, 2, 2]), r"finite, and 1 rows.*features\[1\]=\[ 1.  1. nan\]"),
        ((FEATURES, LABELS, 0), "`floor` must be positive and finite.*floor=0"),
        ((FEATURES, LABELS, np.inf), "`floor` must be positive.*floor=inf"),
        ((FEATURES, LABELS, 0.1, False, "l2"), "one of 'raw', 'unit'.*centroids='l2'"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        discriminability(*arguments)
