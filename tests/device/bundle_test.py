import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_distill import device
from tests import tiny_embedder
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def bundle():
    return device.open_bundle(tiny_embedder.bundle())


@pytest.fixture
def copy(tmp_path):
    """A copy of the bundle to spoil."""
    return shutil.copytree(tiny_embedder.bundle(), tmp_path / "copy")


def change_manifest(folder, **changes):
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest.update(changes)
    file.write_text(json.dumps(manifest))


def test_knows_its_catalogue(bundle):
    catalogue = tiny_embedder.catalogue()
    assert len(bundle) == len(catalogue) == 120
    assert bundle.ids == catalogue.ids
    assert bundle.classes == tuple(catalogue.class_names[i] for i in catalogue.labels)
    assert (bundle.image_shape, bundle.dim) == ((32, 32, 1), 16)
    assert bundle.rows.shape == (120, 16)


def test_an_image_of_the_catalogue_finds_itself_first(bundle):
    images, _ = tiny_embedder.images()
    ids, scores = bundle.search(images[[3, 77]], k=4)
    assert [row[0] for row in ids] == [bundle.ids[3], bundle.ids[77]]
    assert scores.shape == (2, 4) and np.all(np.diff(scores, axis=1) <= 0)
    np.testing.assert_allclose(scores[:, 0], 1, atol=2e-5)


def test_images_and_their_embeddings_find_the_same(bundle):
    images, _ = tiny_embedder.images()
    by_image = bundle.search(images[:5], k=3)
    by_embedding = bundle.search(bundle.embed(images[:5]).astype(np.float64), k=3)
    assert by_image[0] == by_embedding[0]
    np.testing.assert_allclose(by_image[1], by_embedding[1], atol=2e-5)


def test_the_search_file_answers_for_images_where_it_can(bundle, monkeypatch):
    images, _ = tiny_embedder.images()
    asked = []
    search = device.Searcher.search
    monkeypatch.setattr(
        device.Searcher,
        "search",
        lambda self, *args: asked.append(len(args[0])) or search(self, *args),
    )
    ids, scores = bundle.search(images[:3], k=10)
    assert asked == [3]
    by_numpy = bundle.search(images[:3], 10, "numpy")
    assert [set(row) for row in ids] == [set(row) for row in by_numpy[0]]
    np.testing.assert_allclose(scores, by_numpy[1], atol=2e-5)
    bundle.search(bundle.embed(images[:3]), k=10)  # embeddings
    bundle.search(images[:3], k=11)  # more than it gives
    exact = device.open_bundle(tiny_embedder.bundle(), model="float32")
    exact.search(images[:3], k=3)  # another network than the one inside it
    assert asked == [3]
    for opened, queries, k, why in [
        (bundle, bundle.embed(images[:3]), 3, "takes images"),
        (bundle, images[:3], 11, "gives 10 neighbours"),
        (exact, images[:3], 3, "embeds with the int8 network"),
    ]:
        with pytest.raises(ValueError, match=f"cannot answer: it {why}.*='tflite'"):
            opened.search(queries, k, "tflite")


def test_what_the_lists_of_a_search_file_cannot_fill_is_searched_exactly(
    bundle, monkeypatch
):
    images, _ = tiny_embedder.images()
    search = device.Searcher.search

    def short(self, *args):
        scores, indices, embeddings = search(self, *args)
        indices[1, 4:] = -1
        scores[1, 4:] = -4
        return scores, indices, embeddings

    monkeypatch.setattr(device.Searcher, "search", short)
    scores, rows = bundle.nearest(images[:3], 5)
    np.testing.assert_array_equal(rows, bundle.nearest(images[:3], 5, "numpy")[1])
    assert scores.min() > 0


def test_scores_are_matches_from_the_threshold_of_the_network_in_use_on(copy):
    models = {
        name: {
            "match": {"threshold": match, "true_rate": 0.9},
            "no_match": {"threshold": none, "true_rate": match},
        }
        for name, match, none in (("int8", 0.5, 0.75), ("float32", 0.25, 0.3))
    }
    change_manifest(copy, thresholds={"false_match_rate": 0.01, "models": models})
    opened = device.open_bundle(copy)
    scores = np.array([[0.75, 0.5, 0.49], [0.74, 0.1, 0.0]], np.float32)
    assert opened.has_thresholds()
    assert opened.match(scores).tolist() == [[True, True, False], [True, False, False]]
    assert opened.no_match(scores).tolist() == [False, True]
    assert opened.known_accepted() == 0.5
    exact = device.open_bundle(copy, model="float32")
    assert exact.known_accepted() == 0.25
    assert exact.match(scores[0]).tolist() == [True, True, True]
    assert exact.no_match(scores - np.float32(0.45)).tolist() == [False, True]
    with pytest.raises(ValueError, match=r"\(queries, k\).*scores.shape=\(3,\)"):
        opened.no_match(scores[0])


def test_without_thresholds_it_says_why(copy):
    change_manifest(copy, thresholds={"models": {}, "refused": "too few queries"})
    opened = device.open_bundle(copy)
    assert not opened.has_thresholds()
    with pytest.raises(ValueError, match="int8 network: too few queries. Received"):
        opened.match(np.ones((1, 1)))
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["thresholds"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="was written without"):
        device.open_bundle(copy).no_match(np.ones((1, 1)))


def test_a_bundle_of_before_has_no_search_file_and_is_searched_otherwise(copy, bundle):
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["search"], manifest["files"]["search.tflite"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    opened = device.open_bundle(copy)
    images, _ = tiny_embedder.images()
    assert opened.search(images[:3], 5)[0] == bundle.search(images[:3], 5, "numpy")[0]
    with pytest.raises(ValueError, match="this bundle has none"):
        opened.search(images[:3], 5, "tflite")
    with pytest.raises(ValueError, match="has no search file.*Received"):
        opened.search_file()
    assert "search_cosine_min" not in opened.check_golden()


def test_numpy_and_scann_find_the_same(bundle):
    pytest.importorskip("scann", reason="ScaNN is not installed here")
    images, _ = tiny_embedder.images()
    queries = bundle.embed(images)
    scores, rows = bundle.nearest(queries, 10, "numpy")
    scann_scores, scann_rows = bundle.nearest(queries, 10, "scann")
    np.testing.assert_allclose(scann_scores, scores, atol=1e-6)
    assert np.mean(rows == scann_rows) > 0.99  # near-ties may change places


def test_a_tree_is_searched_with_scann_where_it_is_installed(monkeypatch):
    opened = device.open_bundle(tiny_embedder.bundle())
    asked = []

    class Index:
        answer = 7

        def __init__(self, folder):
            asked.append(folder)

        def search(self, queries, k):
            return np.zeros((len(queries), k)), np.full((len(queries), k), self.answer)

    class Reader(Index):
        answer = 8

    module = "keras_distill.device.bundle_searches"
    monkeypatch.setattr(f"{module}.ScannFolder", Index)
    monkeypatch.setattr(f"{module}.ScannReader", Reader)
    query = opened.rows[:1]
    opened.manifest["catalogue"]["searchers"] = ["numpy", "scann"]
    for kind, installed, first in [
        ("brute_force", True, 0),  # numpy is as exact, and needs no other library
        ("tree", False, 8),
        ("tree", True, 7),
    ]:
        opened.manifest["catalogue"]["index"] = kind
        monkeypatch.setattr(f"{module}.has_scann", lambda answer=installed: answer)
        opened._searches._index = None
        assert opened.nearest(query, 1)[1][0, 0] == first
    assert asked == [opened.path / "scann"] * 2


def test_the_float_network_can_be_chosen(bundle):
    images, _ = tiny_embedder.images()
    exact = device.open_bundle(tiny_embedder.bundle(), model="float32")
    expected = tiny_embedder.student()(images[:9].astype("float32"), training=False)
    np.testing.assert_allclose(exact.embed(images[:9]), expected, atol=1e-5)
    assert not np.allclose(bundle.embed(images[:9]), expected, atol=1e-4)


@pytest.mark.parametrize("searcher", device.SEARCHERS)
def test_works_from_another_place(copy, bundle, searcher):
    if searcher == "scann":
        pytest.importorskip("scann", reason="ScaNN is not installed here")
    images, _ = tiny_embedder.images()
    moved = copy.rename(copy.with_name("moved"))
    found = device.open_bundle(moved).search(images[:4], 5, searcher)
    assert found[0] == bundle.search(images[:4], 5, "numpy")[0]


def test_the_golden_images_come_out_as_they_went_in(bundle):
    found = bundle.check_golden()
    assert found["images"] == 32 and found["k"] == 5
    assert found["cosine_min"] > 0.99999 and found["score_difference"] < 1e-5
    assert found["top_1_same"] == found["overlap_at_k"] == 1.0
    assert found["search_cosine_min"] > 0.99999
    assert found["search_score_difference"] < 2e-5
    assert found["search_top_1_same"] == found["search_overlap_at_k"] == 1.0


def test_a_search_file_of_other_rows_is_refused(copy):
    from keras_distill.retrieval.search_graph import search_graph

    rows = np.roll(np.load(copy / "scann" / "dataset.npy"), 1, axis=0)
    model = search_graph((copy / "embed_int8.tflite").read_bytes(), rows, 10, 64)
    spoil(copy, "search.tflite", lambda path: path.write_bytes(model))
    with pytest.raises(device.BundleError, match="search file must.*within 0.001"):
        device.open_bundle(copy).check_golden()


def test_golden_images_that_embed_otherwise_are_refused(copy):
    file = copy / "golden.npz"
    with np.load(file) as stored:
        golden = dict(stored)
    golden["embeddings"] = np.roll(golden["embeddings"], 1, axis=0)
    spoil(copy, "golden.npz", lambda path: np.savez(path, **golden))
    with pytest.raises(device.BundleError, match="cosine of at least 0.98.*Received"):
        device.open_bundle(copy).check_golden()


def spoil(folder, name, write):
    """Writes a file of a bundle anew, and its facts in the manifest."""
    from keras_distill.device.manifest import file_facts

    write(folder / name)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][name] = file_facts(folder / name)
    change_manifest(folder, files=manifest["files"])


@pytest.mark.parametrize("name", ["embed_int8.tflite", "ids.json", "scann/dataset.npy"])
def test_an_altered_file_is_refused_by_name(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    (copy / name).write_bytes(content)
    with pytest.raises(device.BundleError, match=f"altered.*Received: '{name}'"):
        device.open_bundle(copy)


def test_a_file_cut_short_or_gone_is_refused_by_name(copy):
    file = copy / "golden.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(device.BundleError, match="altered.*'golden.npz'"):
        device.open_bundle(copy)
    file.unlink()
    with pytest.raises(device.BundleError, match="missing. Received: 'golden.npz'"):
        device.open_bundle(copy)


def test_a_newer_format_is_refused(copy):
    change_manifest(copy, format_version=2)
    with pytest.raises(device.BundleError, match="version 1; a newer.*_version=2 in"):
        device.open_bundle(copy)
    change_manifest(copy, format_version="1b")
    with pytest.raises(device.BundleError, match="format_version='1b'"):
        device.open_bundle(copy)


def test_a_manifest_that_leads_outside_is_refused(copy):
    change_manifest(copy, files={"../secret": {"bytes": 1, "sha256": ""}})
    with pytest.raises(device.BundleError, match="inside it. Received: '../secret'"):
        device.open_bundle(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', '"x"'])
def test_a_manifest_that_is_none_is_refused(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(device.BundleError, match="must be JSON.*manifest.json"):
        device.open_bundle(copy)


def test_what_is_no_bundle_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(FileNotFoundError, match=f"manifest.json.*path={path}"):
            device.open_bundle(path)


def test_refuses_and_says_what_it_got(bundle):
    images, _ = tiny_embedder.images()
    for k in (0, 121, 2.0, True):
        with pytest.raises(ValueError, match=f"from 1 to 120.*k={k}"):
            bundle.search(images[:1], k)
    with pytest.raises(ValueError, match="'auto', 'numpy', 'scann', 'tflite'.*'faiss'"):
        bundle.search(images[:1], searcher="faiss")
    with pytest.raises(ValueError, match=r"batch.*queries.shape=\(32, 32, 1\)"):
        bundle.search(images[0])
    with pytest.raises(ValueError, match=r"\(count, 16\).*queries.shape=\(2, 17\)"):
        bundle.search(np.ones((2, 17), np.float32))
    with pytest.raises(TypeError, match="queries.dtype=int64"):
        bundle.search(np.ones((2, 16), np.int64))
    with pytest.raises(ValueError, match="'float32', 'int8'.*model='int4'"):
        device.open_bundle(bundle.path, model="int4")


def test_importing_it_is_quick_and_pulls_in_neither_tensorflow_nor_keras():
    program = (
        "import time; start = time.perf_counter()\n"
        "import keras_distill.device, sys\n"
        "print(time.perf_counter() - start)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )

    def run():
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    # The quickest of some: other work on the machine is not its doing.
    seconds = []
    for _ in range(5):
        taken, modules = run()
        assert not {"tensorflow", "keras", "scann", "PIL"} & set(modules.split())
        seconds.append(float(taken))
        if seconds[-1] < 0.5:
            return
        time.sleep(1)
    raise AssertionError(f"importing keras_distill.device took {seconds} s")
