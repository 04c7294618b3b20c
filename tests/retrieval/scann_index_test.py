import numpy as np
import pytest

from keras_distill.device.scann_folder import ScannFolder
from keras_distill.retrieval import build_index, exact_search
from keras_distill.retrieval.scann_index import REORDERED, SHARES, index_recall

rng = np.random.default_rng(0)


def unit(count, dim=16, centres=40):
    """Rows in clusters, as embeddings are."""
    middle = np.random.default_rng(1).normal(size=(centres, dim))
    rows = middle[rng.integers(0, centres, count)] + 0.3 * rng.normal(size=(count, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def scann():
    return pytest.importorskip("scann", reason="ScaNN is not installed here")


def test_brute_force_finds_what_exact_search_finds(tmp_path):
    rows, queries = unit(300), unit(50)
    scores, indices = build_index(rows, tmp_path).search(queries, 7)
    true_scores, true_indices = exact_search(queries, rows, 7)
    np.testing.assert_allclose(scores, true_scores, atol=1e-6)
    assert np.mean(indices == true_indices) > 0.99
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)


def test_a_tree_finds_nearly_all_of_it(tmp_path):
    rows, queries = unit(5000), unit(200)
    scores, indices = build_index(rows, tmp_path, kind="tree").search(queries, 10)
    _, true = exact_search(queries, rows, 10)
    pairs = zip(indices, true, strict=True)
    assert np.mean([len({*found} & {*best}) / 10 for found, best in pairs]) > 0.95
    # What it finds is scored exactly: with the rows, not with their codes.
    np.testing.assert_allclose(
        scores, np.einsum("qd,qkd->qk", queries, rows[indices]), atol=1e-6
    )


@pytest.mark.parametrize("recall", [0.8, 0.95, 0.99])
def test_as_few_partitions_are_searched_as_find_the_recall_asked_for(tmp_path, recall):
    rows, queries = unit(5000), unit(200)
    index = build_index(rows, tmp_path, "tree", recall, queries)
    settings = index.settings
    assert settings["recall"] >= recall and settings["queries"] == 200
    _, true = exact_search(queries, rows, 10)

    def measured(leaves, reorder):
        _, found = index.search(queries, 10, leaves, reorder)
        pairs = zip(found, true, strict=True)
        return np.mean([len({*a} & {*b}) / 10 for a, b in pairs])

    leaves, reorder = settings["leaves_to_search"], settings["reorder"]
    assert measured(leaves, reorder) == pytest.approx(settings["recall"])
    # The next cheaper ones are not enough.
    fewer = [
        n for n in (round(s * settings["leaves"]) for s in SHARES) if 0 < n < leaves
    ]
    assert not fewer or measured(max(fewer), REORDERED[-1]) < recall
    fewer = [n for n in REORDERED if n < reorder]
    assert not fewer or measured(leaves, max(fewer)) < recall


def test_a_higher_recall_costs_more_partitions(tmp_path):
    rows, queries = unit(5000), unit(200)
    searched = [
        build_index(rows, tmp_path / str(recall), "tree", recall, queries).settings
        for recall in (0.8, 0.995)
    ]
    assert searched[0]["leaves_to_search"] < searched[1]["leaves_to_search"]


def test_without_queries_each_row_is_left_out_of_what_it_finds(tmp_path):
    rows = unit(3000)
    index = build_index(rows, tmp_path, "tree", 0.9)
    own = np.unique(np.linspace(0, 2999, 500).round().astype(int))
    _, true = exact_search(rows[own], rows, 11)
    _, found = index.search(rows[own], 11)
    right = [
        len({*a[a != i][:10]} & {*b[b != i][:10]}) / 10
        for a, b, i in zip(found, true, own, strict=True)
    ]
    assert index.settings["recall"] == pytest.approx(np.mean(right))
    assert index_recall(index.search, rows) == index.settings["recall"]


def test_a_recall_that_no_tree_reaches_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_distill.retrieval.scann_index.REORDERED", (10,))
    rows = np.random.default_rng(0).normal(size=(2000, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with pytest.raises(
        ValueError, match="all 89 partitions must find 1.0.*Received: 0"
    ):
        build_index(rows, tmp_path, "tree", 1.0)


@pytest.mark.parametrize("kind", ["brute_force", "tree"])
def test_the_folder_can_be_moved_and_searched_again(tmp_path, kind):
    rows, queries = unit(600), unit(9)
    before = build_index(rows, tmp_path / "here", kind).search(queries, 5)
    (tmp_path / "here").rename(tmp_path / "there")
    after = ScannFolder(tmp_path / "there").search(queries, 5)
    np.testing.assert_array_equal(before, after)


def test_the_folder_holds_the_rows_for_numpy_and_no_pickle_nor_absolute_path(tmp_path):
    rows = unit(600)
    build_index(rows, tmp_path, "tree")
    np.testing.assert_array_equal(np.load(tmp_path / "dataset.npy"), rows)
    assert not list(tmp_path.glob("*.pkl"))
    assert str(tmp_path) not in (tmp_path / "scann_assets.pbtxt").read_text()


def test_building_again_gives_the_same_files(tmp_path):
    rows = unit(600)
    for name in ("a", "b"):
        build_index(rows, tmp_path / name, "brute_force")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    for name in files:
        first, second = ((tmp_path / x / name).read_bytes() for x in "ab")
        assert first == second, name


def test_all_rows_are_found_where_the_tree_sees_a_part_of_them(tmp_path):
    rows, queries = unit(600), unit(3)
    scores, indices = build_index(rows, tmp_path, "tree").search(queries, 600)
    assert all(sorted(row) == list(range(600)) for row in indices.tolist())
    assert np.isfinite(scores).all() and np.all(np.diff(scores, axis=1) <= 0)


def test_one_row_is_an_index_too(tmp_path):
    rows = unit(1)
    scores, indices = build_index(rows, tmp_path).search(rows, 1)
    assert indices.tolist() == [[0]] and scores[0, 0] == pytest.approx(1)
