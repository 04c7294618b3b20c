import importlib
import threading
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
import threadpoolctl

from keras_distill.retrieval import exact_search

module = importlib.import_module("keras_distill.retrieval.exact_search")
rng = np.random.default_rng(0)
METRICS = ["cosine", "euclidean"]


def by_hand(queries, gallery, metric):
    """`(Q, N)` scores in float64, each pair by itself."""
    scores = np.empty((len(queries), len(gallery)))
    for i, q in enumerate(np.asarray(queries, np.float64)):
        for j, g in enumerate(np.asarray(gallery, np.float64)):
            if metric == "euclidean":
                scores[i, j] = -np.sum((q - g) ** 2)
            else:
                length = np.linalg.norm(q) * np.linalg.norm(g)
                scores[i, j] = q @ g / length if length else 0.0
    return scores


def small_tiles(monkeypatch, queries=7, first=5, gallery=16, pairs=3):
    monkeypatch.setattr(module, "QUERY_TILE", queries)
    monkeypatch.setattr(module, "FIRST_TILE", first)
    monkeypatch.setattr(module, "GALLERY_TILE", gallery)
    monkeypatch.setattr(module, "PAIRS", pairs)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "k, size", [(1, 150), (6, 150), (150, 150), (1, 900), (40, 900)]
)
def test_is_the_sorted_scores(metric, k, size, monkeypatch):
    small_tiles(monkeypatch)
    queries, gallery = rng.normal(size=(40, 6)), rng.normal(size=(size, 6))
    scores, indices = exact_search(queries, gallery, k, metric)
    expected = by_hand(queries, gallery, metric)
    assert scores.dtype == np.float32 and scores.shape == indices.shape == (40, k)
    np.testing.assert_array_equal(indices, np.argsort(-expected, axis=1)[:, :k])
    np.testing.assert_allclose(
        scores, -np.sort(-expected, axis=1)[:, :k], rtol=1e-6, atol=2e-7
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("k, size", [(60, 200), (9, 500)])
def test_ties_go_to_the_lower_index(metric, exclude_self, k, size, monkeypatch):
    # Corners of a cube: scores are exact in any arithmetic, and nearly all tie.
    small_tiles(monkeypatch)
    rows = rng.choice([-1.0, 1.0], size=(size, 4))
    expected = by_hand(rows, rows, metric)
    if exclude_self:
        np.fill_diagonal(expected, -np.inf)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :k]
    scores, indices = exact_search(rows, rows, k, metric, exclude_self)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_array_equal(scores, np.take_along_axis(expected, order, axis=1))


def test_duplicates_tie_wherever_they_lie():
    row = rng.normal(size=128).astype(np.float32)
    gallery = rng.normal(size=(6000, 128)).astype(np.float32)
    places = [3, 1500, 2047, 2048, 4099, 5999]
    gallery[places] = row
    scores, indices = exact_search(row[None], gallery, 6)
    np.testing.assert_array_equal(indices[0], places)
    np.testing.assert_array_equal(scores[0], 1.0)
    near = row + rng.normal(size=(300, 128)).astype(np.float32)
    scores, indices = exact_search(near, gallery, 6)
    assert np.ptp(scores, axis=1).max() == 0 and (indices == places).all()


def test_a_query_is_left_out_by_its_index_and_its_duplicates_stay():
    half = rng.normal(size=(250, 8))
    rows, places = np.concatenate([half, half]), np.arange(500)
    true = by_hand(rows, rows, "cosine")
    np.fill_diagonal(true, -np.inf)
    for k in (1, 7, 499):
        scores, indices = exact_search(rows, rows, k, exclude_self=True)
        np.testing.assert_array_equal(indices[:, 0], (places + 250) % 500)
        assert not (indices == places[:, None]).any()
        np.testing.assert_allclose(
            scores, -np.sort(-true, axis=1)[:, :k], rtol=1e-6, atol=2e-7
        )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["spread", "collapsed", "equal", "one far away"])
def test_tiles_threads_and_company_change_no_bit(metric, kind, monkeypatch):
    gallery = rng.normal(size=(3000, 24)).astype(np.float32)
    if kind == "collapsed":  # float32 products cannot tell these apart
        gallery = np.ones_like(gallery) + 1e-5 * gallery
    elif kind == "equal":
        gallery[:] = gallery[0]
    elif kind == "one far away":
        gallery[77] *= 1e6
    queries = gallery[::5]
    expected = exact_search(queries, gallery, 20, metric)
    alone = [exact_search(queries[i : i + 1], gallery, 20, metric) for i in (0, 311)]
    np.testing.assert_array_equal(alone[0][0][0], expected[0][0])
    np.testing.assert_array_equal(alone[1][1][0], expected[1][311])
    laid_out = exact_search(np.asfortranarray(queries), gallery, 20, metric)
    tiled = []
    for queries_, first, gallery_ in ((64, 100, 700), (600, 3000, 3000), (13, 21, 33)):
        small_tiles(monkeypatch, queries_, first, gallery_, pairs=50)
        tiled.append(exact_search(queries, gallery, 20, metric))
    for scores, indices in (laid_out, *tiled):
        np.testing.assert_array_equal(scores, expected[0])
        np.testing.assert_array_equal(indices, expected[1])


@pytest.mark.parametrize("metric", METRICS)
def test_finds_the_best_among_nearly_equal_rows(metric):
    gallery = (1 + 1e-5 * rng.normal(size=(2500, 8))).astype(np.float32)
    scores, indices = exact_search(gallery[:40], gallery, 10, metric)
    true = by_hand(gallery[:40], gallery, metric)
    np.testing.assert_allclose(
        scores, -np.sort(-true, axis=1)[:, :10], rtol=2e-7, atol=1e-12
    )
    np.testing.assert_allclose(
        np.take_along_axis(true, indices, axis=1), scores, rtol=2e-7, atol=1e-12
    )


def test_a_query_at_the_centre_of_a_sphere():
    # All at the distance 1000, but for less than what float32 products lose.
    for _ in range(5):
        around = rng.normal(size=(2500, 8))
        around *= (1000 + 1e-4 * rng.normal(size=(2500, 1))) / np.linalg.norm(
            around, axis=1, keepdims=True
        )
        query = 10 * rng.normal(size=(1, 8))
        scores, indices = exact_search(query, query + around, 10, "euclidean")
        deep = exact_search(query, query + around, 400, "euclidean")  # all in float64
        np.testing.assert_array_equal(scores, deep[0][:, :10])
        np.testing.assert_array_equal(indices, deep[1][:, :10])


def test_distances_too_small_for_float32_tie():
    gallery = np.array([[1e-25], [0.0], [-1e-26], [1.0]])
    scores, indices = exact_search([[0.0]], gallery, 4, "euclidean")
    np.testing.assert_array_equal(scores, [[0, 0, 0, -1]])
    np.testing.assert_array_equal(indices, [[0, 1, 2, 3]])


def test_distances_survive_an_origin_far_away():
    # |q|^2 - 2qg + |g|^2 in float32 would be wrong by more than these distances.
    gallery = (1000 + rng.normal(size=(800, 16))).astype(np.float32)
    scores, indices = exact_search(gallery, gallery, 3, "euclidean")
    np.testing.assert_array_equal(scores[:, 0], 0.0)
    np.testing.assert_array_equal(indices[:, 0], np.arange(800))
    wide = gallery.astype(np.float64)
    true = -((wide[:, None] - wide[indices]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(scores, true, rtol=1e-7)


def test_scores_are_those_of_a_rotated_scaled_and_reordered_gallery():
    gallery, queries = rng.normal(size=(700, 12)), rng.normal(size=(60, 12))
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    order = rng.permutation(700)
    scores, indices = exact_search(queries, gallery, 9)
    turned = exact_search(3e4 * queries @ rotation, 1e-9 * gallery @ rotation, 9)
    np.testing.assert_allclose(turned[0], scores, atol=2e-7)
    np.testing.assert_array_equal(turned[1], indices)
    mixed = exact_search(queries, gallery[order], 9)
    np.testing.assert_array_equal(mixed[0], scores)
    np.testing.assert_array_equal(order[mixed[1]], indices)


def test_a_row_of_zeros_has_cosine_zero_with_all():
    gallery = np.concatenate([np.zeros((2, 4)), rng.normal(size=(5, 4))])
    scores, indices = exact_search(np.zeros((1, 4)), gallery, 7)
    np.testing.assert_array_equal(scores, 0.0)
    np.testing.assert_array_equal(indices[0], np.arange(7))
    scores, indices = exact_search(np.array([[0.0, 0.0, 0.0, -2.0]]), gallery, 7)
    np.testing.assert_array_equal(scores[0][np.isin(indices[0], (0, 1))], 0.0)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, list, tf.constant])
def test_takes_what_numpy_takes(kind):
    rows = rng.integers(-9, 9, size=(30, 5))
    expected = exact_search(rows.astype(np.float32), rows.astype(np.float32), 4)
    rows = rows.astype(kind) if isinstance(kind, type(np.int8)) else kind(rows.tolist())
    found = exact_search(rows, rows, 4)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_blocks_go_as_deep_as_their_queries_need(monkeypatch):
    small_tiles(monkeypatch)
    rows = rng.normal(size=(100, 3))
    depths = rng.integers(1, 100, size=100)
    _, full = exact_search(rows, rows, 99, exclude_self=True)
    seen = []
    blocks = module.search_in_blocks(rows, rows, depths, "cosine", np.arange(100))
    for some, scores, indices in blocks:
        assert scores.shape[1] == depths[some].max()
        np.testing.assert_array_equal(indices, full[some, : indices.shape[1]])
        seen.extend(some)
    assert sorted(seen) == list(range(100))


def test_memory_does_not_grow_with_the_number_of_pairs():
    rows = rng.normal(size=(12000, 8)).astype(np.float32)
    tracemalloc.start()
    exact_search(rows, rows, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    workers = min(module.MOST_WORKERS, module._cores())
    assert peak < (20 + 45 * workers) * 2**20  # all scores would be 550 MB


def test_the_blas_gets_its_threads_back():
    def threads():
        return [p["num_threads"] for p in threadpoolctl.threadpool_info()]

    before = threads()
    rows = rng.normal(size=(3000, 8))
    searches = [
        threading.Thread(target=exact_search, args=(rows, rows, 3)) for _ in range(3)
    ]
    for search in searches:
        search.start()
    for search in searches:
        search.join()
    left_alone = module.search_in_blocks(rows, rows, np.full(3000, 2))
    next(left_alone)
    left_alone.close()
    assert threads() == before


def with_nan(row):
    rows = np.ones((9000, 3), np.float32)
    rows[row, 1] = np.nan
    return rows


GOOD = np.ones((5, 3))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((GOOD[0], GOOD, 1), r"`queries` must have shape.*queries.shape=\(3,\)"),
        ((GOOD, GOOD[:0], 1), r"`gallery` .*above 0.*gallery.shape=\(0, 3\)"),
        ((GOOD[:0], GOOD, 1), r"`queries` .*above 0.*queries.shape=\(0, 3\)"),
        ((GOOD, GOOD[:, :2], 1), r"same width.*\(5, 3\).*\(5, 2\)"),
        ((GOOD, GOOD, 0), "positive integer.*k=0"),
        ((GOOD, GOOD, 1.5), "positive integer.*k=1.5"),
        ((GOOD, GOOD, True), "positive integer.*k=True"),
        ((GOOD, GOOD, 6), "`k` must be at most 5.*k=6"),
        ((GOOD, GOOD, 5, "cosine", True), "at most 4.*beside the query.*k=5"),
        ((GOOD[:4], GOOD, 1, "cosine", True), r"`exclude_self`.*\(4, 3\).*\(5, 3\)"),
        ((GOOD, GOOD, 1, "dot"), "`metric` must be one of.*metric='dot'"),
        ((GOOD, with_nan(8123), 1), r"`gallery` must be finite.*gallery\[8123\]=.*nan"),
        ((with_nan(7), GOOD, 1), r"`queries` must be finite.*queries\[7\]="),
        ((GOOD * np.inf, GOOD, 1), r"`queries` must be finite.*queries\[0\]=.*inf"),
        ((GOOD, GOOD * 1e19, 1, "euclidean"), r"stay below 6e\+17.*gallery\[0\]"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        exact_search(*arguments)
