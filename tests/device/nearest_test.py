import numpy as np
import pytest

import keras_distill.device.nearest as device_nearest
from keras_distill.device.nearest import nearest

rng = np.random.default_rng(0)


def unit(count, dim=8):
    rows = rng.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_hand(queries, rows, k):
    """Sorted in float64, one query at a time; lower indices first among equals."""
    found = []
    for query in queries.astype(np.float64):
        scores = [float(query @ row) for row in rows.astype(np.float64)]
        order = sorted(range(len(rows)), key=lambda i: (-scores[i], i))[:k]
        found.append([(scores[i], i) for i in order])
    return found


@pytest.mark.parametrize("k", [1, 3, 150])
def test_finds_the_rows_of_highest_cosine_in_order(k, monkeypatch):
    monkeypatch.setattr(device_nearest, "TILE", 64 * 150)
    queries, rows = unit(130), unit(150)  # more queries than a tile
    scores, indices = nearest(queries, rows, k)
    expected = by_hand(queries, rows, k)
    assert indices.tolist() == [[i for _, i in row] for row in expected]
    expected = [[score for score, _ in row] for row in expected]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)


def test_among_equal_rows_the_first_come_first():
    rows = np.repeat(unit(3), 40, axis=0)
    _, indices = nearest(rows[[50]], rows, 7)
    assert indices[0].tolist() == [40, 41, 42, 43, 44, 45, 46]
