import numpy as np
import pytest

from keras_distill.retrieval.inverted_lists import inverted_lists


def clusters(sizes, dim=6, spread=0.02):
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(len(sizes), dim))
    rows = np.repeat(middles, sizes, axis=0)
    rows = rows + spread * rng.normal(size=rows.shape)
    return rows.astype(np.float32)


def test_every_row_is_in_one_list():
    members = inverted_lists(clusters([300, 10, 90, 55]), 7).members
    assert np.array_equal(np.sort(members[members >= 0]), np.arange(455))


def test_no_list_is_much_longer_than_the_mean_even_where_one_cluster_has_most():
    rows = clusters([900, 30, 30, 40])
    members = inverted_lists(rows, 10).members
    assert members.shape == (10, 120)  # 1.2 times 100


def test_rows_lie_in_the_list_of_the_nearest_centroid_where_there_is_room():
    rows = clusters([50] * 8)
    centroids, members = inverted_lists(rows, 8)
    distances = np.linalg.norm(rows[:, None] - centroids[None], axis=2)
    placed = np.empty(len(rows), int)
    for number, some in enumerate(members):
        placed[some[some >= 0]] = number
    lengths = (members >= 0).sum(axis=1)
    room = lengths[distances.argmin(axis=1)] < members.shape[1]
    assert np.array_equal(placed[room], distances.argmin(axis=1)[room])
    # Those that were sent on gave way to nearer ones.
    for row in np.flatnonzero(placed != distances.argmin(axis=1)):
        nearest = distances[row].argmin()
        kept = members[nearest]
        assert distances[kept[kept >= 0], nearest].max() <= distances[row, nearest]


def test_the_same_rows_make_the_same_lists():
    rows = clusters([100] * 5)
    for one, other in zip(
        inverted_lists(rows, 5), inverted_lists(rows, 5), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_as_many_lists_as_rows_and_one_list_work():
    rows = clusters([2] * 4)
    assert np.sort(inverted_lists(rows, 1).members[0])[-8:].tolist() == [*range(8)]
    members = inverted_lists(rows, 8).members
    assert sorted(members[members >= 0].tolist()) == [*range(8)]


@pytest.mark.parametrize("count", [0, 9])
def test_refuses_more_lists_than_rows(count):
    with pytest.raises(ValueError, match=rf"\[1, 8\].*count={count}"):
        inverted_lists(clusters([2] * 4), count)
