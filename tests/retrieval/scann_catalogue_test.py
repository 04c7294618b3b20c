import numpy as np
import pytest

from keras_distill import device
from keras_distill.retrieval import ScannCatalogue, exact_search


@pytest.fixture(scope="module", autouse=True)
def scann():
    return pytest.importorskip("scann", reason="ScaNN is not installed here")


def unit(count, seed=0, dim=16):
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(1).normal(size=(80, dim))
    rows = middles[rng.integers(0, 80, count)] + 0.3 * rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def names(count, start=0):
    return [f"item {i}" for i in range(start, start + count)]


@pytest.mark.parametrize("kind", ["brute_force", "tree"])
def test_added_rows_are_found_and_deleted_ones_are_not(tmp_path, kind):
    rows, new = unit(2000), unit(50, seed=5)
    catalogue = ScannCatalogue(names(2000), rows, tmp_path / "index", kind, 1.0)
    catalogue.add(names(50, 2000), new)
    ids, scores = catalogue.search(new, 1)
    # At a lower recall a tree may miss a row, and which depends on its training.
    assert [row[0] for row in ids] == names(50, 2000)
    np.testing.assert_allclose(scores, 1, atol=1e-5)
    gone = [*names(20, 10), *names(5, 2045)]
    catalogue.delete(gone)
    assert len(catalogue) == 2025 and not {*gone} & {*catalogue.ids}
    found, _ = catalogue.search(np.concatenate([rows[10:30], new[45:]]), 10)
    assert not {*gone} & {name for row in found for name in row}
    # Every name still has its own row: also the last, which moved into the gaps.
    by_name = dict(zip(names(2050), np.concatenate([rows, new]), strict=True))
    expected = np.stack([by_name[name] for name in catalogue.ids])
    np.testing.assert_array_equal(catalogue.rows, expected)
    found, _ = catalogue.search(expected, 1)
    assert (
        np.mean([a[0] == b for a, b in zip(found, catalogue.ids, strict=True)]) > 0.95
    )


def test_what_is_saved_is_opened_again_elsewhere_without_a_pickle(tmp_path):
    catalogue = ScannCatalogue(names(300), unit(300), tmp_path / "index")
    catalogue.delete(["item 0"])
    catalogue.add(["größer"], unit(1, seed=9))
    catalogue.save()
    (tmp_path / "index").rename(tmp_path / "moved")
    opened = ScannCatalogue.open(tmp_path / "moved")
    assert opened.ids == catalogue.ids and "größer" in opened.ids
    queries = unit(20, seed=3)
    assert opened.search(queries, 5)[0] == catalogue.search(queries, 5)[0]
    _, true = exact_search(queries, opened.rows, 1)
    found = [row[0] for row in opened.search(queries, 1)[0]]
    assert found == [opened.ids[i] for i in true[:, 0]]
    files = [path.name for path in (tmp_path / "moved").iterdir()]
    assert "ids.json" in files and not [name for name in files if "pkl" in name]
    opened.add(["more"], unit(1, seed=10))
    assert len(opened) == 301


def test_refuses_and_says_what_it_got(tmp_path):
    catalogue = ScannCatalogue(names(9), unit(9), tmp_path / "index")
    for ids, rows in [(["item 3"], 1), (["a", "a"], 2), (["a"], 2)]:
        with pytest.raises(ValueError, match="one id for each row, all different"):
            catalogue.add(ids, unit(rows))
    with pytest.raises(ValueError, match="Ids must be strings"):
        catalogue.add([3], unit(1))
    with pytest.raises(ValueError, match=r"16 numbers.*rows.shape=\(1, 4\)"):
        catalogue.add(["a"], unit(1, dim=4))
    with pytest.raises(ValueError, match=r"must be there.*\['nothing'\]"):
        catalogue.delete(["nothing", "item 1"])
    with pytest.raises(ValueError, match="all of them"):
        catalogue.delete(catalogue.ids)
    assert catalogue.ids == names(9)
    (tmp_path / "index" / "ids.json").write_text('["a"]')
    with pytest.raises(device.BundleError, match="JSON list.*9 rows"):
        ScannCatalogue.open(tmp_path / "index")
    with pytest.raises(FileNotFoundError, match="no ScaNN index"):
        ScannCatalogue.open(tmp_path)
