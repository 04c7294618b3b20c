import functools

import numpy as np
import pytest

from keras_distill.device.nearest import nearest
from keras_distill.retrieval import TaskIndex, partition, write_task_index


def clustered(count=900, dim=12, clusters=40, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, dim))[rng.integers(clusters, size=count)]
    rows = centres + 0.7 * rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


ROWS = clustered()


@functools.cache
def parts_of(recall):
    return partition(ROWS, recall)


def test_every_row_is_in_the_part_of_the_centroid_it_is_nearest_to():
    parts = parts_of(0.99)
    assert parts.centroids.shape == (30, 12)  # the square root of 900
    np.testing.assert_allclose(np.linalg.norm(parts.centroids, axis=1), 1, atol=1e-6)
    for row, part in zip(ROWS[::30], parts.assignment[::30], strict=True):
        assert part == np.argmax([row @ centroid for centroid in parts.centroids])


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_it_looks_into_as_many_parts_as_the_recall_needs(recall):
    parts = parts_of(recall)
    ids = [str(row) for row in range(len(ROWS))]
    found = []
    for searched in (parts.searched, parts.searched - 1):
        made = type(parts)(parts.centroids, parts.assignment, searched)
        index = TaskIndex(write_task_index(ROWS, ids, made)) if searched else None
        some = ROWS
        _, true = nearest(some, ROWS, 11)
        names = index.search(some, 11)[1] if index else [[]] * len(some)
        # The query itself, the first of the true ones, is no neighbour.
        hits = [len({*a} & {str(i) for i in b[1:]}) for a, b in zip(names, true)]  # noqa: B905
        found.append(np.mean(hits) / 10)
    assert found[0] >= recall - 0.01
    assert found[1] < recall + 0.01
    assert 1 <= parts.searched < 30


def test_more_recall_needs_more_parts():
    searched = [parts_of(recall).searched for recall in (0.5, 0.8, 0.99, 1.0)]
    assert searched == sorted(searched) and searched[0] < searched[-1]


def test_the_same_seed_gives_the_same_parts():
    first, again, other = (partition(ROWS[:200], seed=seed) for seed in (1, 1, 2))
    assert (first.assignment == again.assignment).all()
    assert (first.assignment != other.assignment).any()


def test_one_row_and_equal_rows_are_parts_too():
    parts = partition(ROWS[:1])
    assert parts.centroids.shape == (1, 12) and parts.searched == 1
    same = partition(np.tile(ROWS[:1], (40, 1)))
    assert same.searched >= 1 and set(same.assignment) <= set(range(6))


@pytest.mark.parametrize("recall", [0, -1, 1.01, float("nan")])
def test_refuses_a_recall_that_is_none(recall):
    with pytest.raises(ValueError, match=f"in .0, 1.. Received: recall={recall}"):
        partition(ROWS, recall)


@pytest.mark.parametrize("parts", [0, 901])
def test_refuses_more_parts_than_rows(parts):
    with pytest.raises(ValueError, match=f"in 1..900.*parts={parts}"):
        partition(ROWS, parts=parts)
