import numpy as np
import pytest

from keras_distill.retrieval import calibrate
from keras_distill.retrieval.thresholds import Threshold


def embeddings(classes=40, per_class=6, spread=0.35, seed=0, dim=16):
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(classes, dim))
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    rows = np.repeat(middles, per_class, axis=0)
    rows = rows + spread * rng.normal(size=rows.shape) / np.sqrt(dim) * 2
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(classes), per_class)


@pytest.fixture(scope="module")
def data():
    queries, labels = embeddings(seed=1)
    gallery, gallery_labels = embeddings(seed=2)
    return queries, labels, gallery, gallery_labels


def by_loops(queries, labels, gallery, gallery_labels, own=None):
    """Scores of genuine and impostor pairs, and the best of each query."""
    genuine, impostor, best_own, best_other = [], [], [], []
    scores = queries @ gallery.T
    for i in range(len(queries)):
        mine, others = [], []
        for j in range(len(gallery)):
            if own is not None and own[i] == j:
                continue
            same = labels[i] == gallery_labels[j]
            (mine if same else others).append(scores[i, j])
        genuine += mine
        impostor += others
        best_own.append(max(mine, default=-np.inf))
        best_other.append(max(others))
    return map(np.array, (genuine, impostor, best_own, best_other))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_the_thresholds_are_the_lowest_that_let_no_more_than_the_rate_pass(data, rate):
    found = calibrate(*data, rate)
    genuine, impostor, best_own, best_other = by_loops(*data)
    for threshold, false in ((found.match, impostor), (found.no_match, best_other)):
        # Not more than the rate, and one more impostor would be too many.
        assert np.mean(false >= threshold.threshold) <= rate
        lower = np.max(false[false < threshold.threshold])
        assert np.mean(false >= lower) > rate
        assert threshold.false_rate == pytest.approx(
            np.mean(false >= threshold.threshold), abs=1e-4
        )
    match, no_match = found.match, found.no_match
    assert match.true_rate == pytest.approx(
        np.mean(genuine >= match.threshold), abs=1e-3
    )
    right = (best_own > best_other) & (best_own >= no_match.threshold)
    assert no_match.true_rate == pytest.approx(np.mean(right), abs=1e-9)
    assert (match.true_count, match.false_count) == (len(genuine), len(impostor))
    assert (no_match.true_count, no_match.false_count) == (240, 240)


def test_the_best_of_many_impostors_needs_the_higher_threshold(data):
    found = calibrate(*data, 0.05)
    assert found.no_match.threshold > found.match.threshold


def test_a_query_is_not_compared_with_itself(data):
    _, _, rows, labels = data
    own = np.arange(len(rows))
    found = calibrate(rows, labels, rows, labels, 0.05, own)
    genuine, _, _, _ = by_loops(rows, labels, rows, labels, own)
    assert found.match.true_count == len(genuine) == 240 * 5
    expected = np.mean(genuine >= found.match.threshold)
    assert found.match.true_rate == pytest.approx(expected, abs=1e-3)
    with_itself = calibrate(rows, labels, rows, labels, 0.05)
    assert with_itself.match.true_rate > found.match.true_rate


def test_the_intervals_hold_the_figure_and_shrink_with_more_classes(data):
    few = calibrate(*data, 0.05)
    many = embeddings(classes=160, seed=1), embeddings(classes=160, seed=2)
    many = calibrate(*many[0], *many[1], 0.05)
    widths = []
    for found in (few, many):
        low, high = found.no_match.interval
        assert low <= found.no_match.threshold <= high
        low, high = found.match.interval
        assert low - 3e-4 <= found.match.threshold <= high + 3e-4
        for some in (found.match, found.no_match):
            low, high = some.true_interval
            assert low - 0.01 <= some.true_rate <= high + 0.01
        widths.append(high - low)
    assert widths[1] < widths[0]


def test_the_interval_is_that_of_drawing_classes_not_images(data):
    """Many images of few classes say little: copies of them must not narrow it."""
    queries, labels, gallery, gallery_labels = data
    once = calibrate(*data, 0.05)
    copied = calibrate(
        np.repeat(queries, 5, axis=0),
        np.repeat(labels, 5),
        gallery,
        gallery_labels,
        0.05,
    )
    assert copied.no_match.interval == pytest.approx(once.no_match.interval, abs=1e-6)


def test_the_same_data_give_the_same_thresholds(data):
    assert calibrate(*data, 0.05) == calibrate(*data, 0.05)
    assert isinstance(calibrate(*data, 0.05).match, Threshold)


def test_queries_of_classes_that_are_not_there_count_as_unknown_only(data):
    queries, labels, gallery, gallery_labels = data
    some = gallery_labels < 30
    found = calibrate(queries, labels, gallery[some], gallery_labels[some], 0.05)
    assert (found.no_match.true_count, found.no_match.false_count) == (180, 240)


def test_a_rate_that_the_data_cannot_support_is_refused(data):
    with pytest.raises(ValueError, match="0.004 needs at least 250 queries.*240"):
        calibrate(*data, 0.004)
    with pytest.raises(ValueError, match="0.00001|1e-05 needs at least 100000 imp"):
        calibrate(*data, 1e-5)
    calibrate(*data, 1 / 240)
    queries, labels, gallery, gallery_labels = data
    with pytest.raises(ValueError, match="0 genuine and 57600 impostor"):
        calibrate(queries, labels, gallery, gallery_labels + 99)
    with pytest.raises(ValueError, match="57600 genuine and 0 impostor"):
        calibrate(queries, 0 * labels, gallery, 0 * gallery_labels)


def test_refuses_and_says_what_it_got(data):
    queries, labels, gallery, gallery_labels = data
    for rate in (0, 1, -0.5, float("nan")):
        with pytest.raises(ValueError, match=rf"\(0, 1\).*false_match_rate={rate}"):
            calibrate(*data, rate)
    with pytest.raises(ValueError, match=r"query_labels.shape=\(3,\)"):
        calibrate(queries, labels[:3], gallery, gallery_labels)
    with pytest.raises(ValueError, match="same width"):
        calibrate(queries[:, :1] / queries[:, :1], labels, gallery, gallery_labels)
    with pytest.raises(ValueError, match="`gallery`.*length one"):
        calibrate(queries, labels, 2 * gallery, gallery_labels)
    with pytest.raises(ValueError, match="resamples=0"):
        calibrate(*data, 0.05, resamples=0)
