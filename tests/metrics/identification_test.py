import numpy as np
import pytest

from keras_distill.metrics import identification

rng = np.random.default_rng(0)


def by_hand(gallery, gallery_labels, probe, label):
    """Rank of the first of the class, by a stable sort of float64 cosines."""

    def cosine(row):
        return float(np.dot(row, probe) / np.linalg.norm(row) / np.linalg.norm(probe))

    order = sorted(range(len(gallery)), key=lambda row: -cosine(gallery[row]))
    places = [
        place for place, row in enumerate(order, 1) if gallery_labels[row] == label
    ]
    return places[0] if places else 0


def test_ranks_and_rates_are_those_of_a_sort_by_hand():
    gallery, gallery_labels = rng.normal(size=(40, 5)), rng.integers(0, 25, 40)
    probes, probe_labels = rng.normal(size=(60, 5)), rng.integers(0, 30, 60)
    expected = np.array(
        [
            by_hand(gallery, gallery_labels, probe, label)
            for probe, label in zip(probes, probe_labels, strict=True)
        ]
    )
    found = identification(gallery, gallery_labels, probes, probe_labels, (1, 3, 40))
    np.testing.assert_array_equal(found.ranks, expected)
    mated = expected[expected > 0]
    assert 0 < (expected == 0).sum() == found.unmated
    assert found.mated == len(mated) and list(found.rates) == [1, 3, 40]
    for k in (1, 3):
        assert found.rates[k] == pytest.approx(np.mean(mated <= k))
    assert found.rates[40] == 1.0


def test_ties_go_to_the_lower_gallery_index():
    gallery = np.repeat(rng.normal(size=(1, 17)), 50, axis=0)
    labels = np.arange(50)
    probes = np.repeat(rng.normal(size=(1, 17)), 50, axis=0)
    found = identification(gallery, labels, probes, labels, (1, 10))
    np.testing.assert_array_equal(found.ranks, np.arange(1, 51))
    assert found.rates == {1: 0.02, 10: 0.2}
    # A scaled copy ties too: a cosine does not see length.
    scaled = gallery * 2.0 ** rng.integers(-3, 4, (50, 1))
    same = identification(scaled, labels, probes, labels)
    np.testing.assert_array_equal(same.ranks, found.ranks)


def test_unmated_probes_are_left_out_and_counted():
    gallery, labels = np.eye(3), ["a", "b", "c"]
    probes = np.array([[1.0, 0, 0], [1, 0.9, 0], [0, 0, 1]])
    found = identification(gallery, labels, probes, ["a", "b", "nobody"])
    np.testing.assert_array_equal(found.ranks, [1, 2, 0])
    assert (found.mated, found.unmated) == (2, 1)
    assert found.rates == {1: 0.5, 5: 1.0}
    without = identification(gallery, labels, probes[:2], ["a", "b"])
    assert without.rates == found.rates and without.unmated == 0


def test_the_first_row_of_a_class_with_several_counts():
    gallery, labels = np.array([[0.0, 1], [1, 1], [1, 0]]), [4, 5, 4]
    found = identification(gallery, labels, [[1.0, 0.1]], [4], [1])
    assert found.ranks == [1]


def test_a_probe_of_zeros_finds_the_gallery_in_its_own_order():
    found = identification(-np.eye(4), np.arange(4), np.zeros((2, 4)), [0, 3])
    np.testing.assert_array_equal(found.ranks, [1, 4])


def test_probes_keep_their_places_in_sets_that_are_searched_in_blocks():
    gallery = rng.normal(size=(900, 8))
    probes = gallery[rng.permutation(900)] + 1e-3 * rng.normal(size=(900, 8))
    nearest = (probes @ gallery.T / np.linalg.norm(gallery, axis=1)).argmax(axis=1)
    found = identification(gallery, np.arange(900), probes, nearest)
    assert (found.ranks == 1).all()
    wrong = nearest.copy()
    wrong[777] = (wrong[777] + 1) % 900
    found = identification(gallery, np.arange(900), probes, wrong)
    np.testing.assert_array_equal(np.flatnonzero(found.ranks != 1), [777])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ks": [0]}, r"`k` must be a positive integer.*\(0,\)"),
        ({"probe_labels": [8, 9]}, "at least one probe.*2 probes, none of them mated"),
        ({"probe_labels": [0]}, r"`probe_labels` must have the same.*\(1,\)"),
        ({"gallery_labels": [0, 1, 2]}, "`gallery_labels` must have the same length"),
        ({"probes": np.ones((2, 3))}, r"same width.*probes.shape=\(2, 3\)"),
        ({"probes": np.full((2, 2), np.inf)}, r"`probes` must be finite.*probes\[0\]"),
        ({"gallery": np.ones((0, 2))}, r"`gallery` must have shape.*\(0, 2\)"),
    ],
)
def test_refuses_and_says_what_it_got(change, message):
    good = {"gallery": np.eye(2), "gallery_labels": [0, 1], "probes": np.eye(2)}
    good |= {"probe_labels": [0, 1], "ks": [1]}
    assert identification(**good).rates == {1: 1.0}
    with pytest.raises(ValueError, match=message):
        identification(**{**good, **change})
