import json

import numpy as np
import pytest

from keras_distill import device
from keras_distill.device.protobuf_fields import protobuf_fields
from keras_distill.device.scann_folder import ScannFolder
from keras_distill.device.scann_reader import ScannReader
from keras_distill.retrieval import build_index, exact_search


def clustered(count, dim=17, seed=0):
    """Unit rows in many clusters; of an odd width: one block is narrower."""
    rng = np.random.default_rng(seed)
    middles = np.random.default_rng(1).normal(size=(500, dim))
    rows = middles[rng.integers(0, 500, count)] + 0.4 * rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("scann", reason="ScaNN is not installed here")
    folder = tmp_path_factory.mktemp("indices") / "tree"
    build_index(clustered(4000), folder, "tree", 0.97, clustered(100, seed=3))
    return folder


def overlap(found, others):
    pairs = zip(found, others, strict=True)
    return np.mean([len({*a} & {*b}) / len(a) for a, b in pairs])


@pytest.mark.parametrize("leaves, reorder", [(None, None), (20, 50), (126, 50)])
def test_numpy_finds_what_scann_finds_in_the_same_files(folder, leaves, reorder):
    queries = clustered(200, seed=5)
    scores, indices = ScannReader(folder).search(queries, 10, leaves, reorder)
    by_scann = ScannFolder(folder).search(queries, 10, leaves, reorder)
    assert overlap(indices, by_scann[1]) >= 0.995
    exact = np.einsum("qd,qkd->qk", queries, clustered(4000)[indices])
    np.testing.assert_allclose(scores, exact, atol=1e-6)
    assert np.all(np.diff(scores, axis=1) <= 0)
    assert (scores.dtype, indices.dtype) == (np.float32, np.int64)


def test_it_looks_into_a_part_of_the_partitions_only(folder):
    queries = clustered(200, seed=5)
    _, true = exact_search(queries, clustered(4000), 10)
    found = [
        overlap(ScannReader(folder).search(queries, 10, leaves, 1000)[1], true)
        for leaves in (1, 4, 126)
    ]
    assert found[0] < found[1] < 0.9 < found[2] == 1.0


def test_all_rows_are_found_where_the_partitions_have_fewer(folder):
    reader = ScannReader(folder)
    scores, indices = reader.search(clustered(2, seed=6), 4000, 1)
    assert all(sorted(row) == list(range(4000)) for row in indices.tolist())


def test_brute_force_is_exact(tmp_path):
    pytest.importorskip("scann", reason="ScaNN is not installed here")
    rows, queries = clustered(300), clustered(20, seed=7)
    build_index(rows, tmp_path)
    scores, indices = ScannReader(tmp_path).search(queries, 5)
    true_scores, true_indices = exact_search(queries, rows, 5)
    np.testing.assert_allclose(scores, true_scores, atol=1e-6)
    assert np.mean(indices == true_indices) > 0.99


@pytest.mark.parametrize(
    "name",
    [
        "ah_codebook.pb",
        "serialized_partitioner.pb",
        "hashed_dataset.npy",
        "datapoint_to_token.npy",
        "dataset.npy",
    ],
)
def test_a_file_cut_short_or_of_another_index_is_refused(folder, tmp_path, name):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = (folder / name).read_bytes()
    for spoilt in (b"", content[: len(content) // 2], content[:-1]):
        (tmp_path / name).write_bytes(spoilt)
        with pytest.raises(device.BundleError, match=f"that ScaNN wrote.*{tmp_path}"):
            ScannReader(tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "[]",
        "{}",
        '{"kind": "ah"}',
        '{"kind": "tree"}',
        '{"kind": ["tree"]}',
        '{"kind": "tree", "leaves_to_search": 0, "reorder": 9}',
        '{"kind": "tree", "leaves_to_search": "x", "reorder": 9}',
    ],
)
def test_settings_that_are_none_are_refused(tmp_path, settings):
    (tmp_path / "settings.json").write_text(settings)
    with pytest.raises(device.BundleError, match="settings of an index.*Received"):
        ScannReader(tmp_path)


def test_where_there_is_no_index_it_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no index here.*folder={tmp_path}"):
        ScannReader(tmp_path)


def test_what_was_chosen_is_what_is_used(folder):
    queries = clustered(50, seed=8)
    settings = json.loads((folder / "settings.json").read_text())
    reader = ScannReader(folder)
    assert reader.settings == settings
    chosen = settings["leaves_to_search"], settings["reorder"]
    expected = reader.search(queries, 10, *chosen)
    np.testing.assert_array_equal(reader.search(queries, 10)[1], expected[1])


def test_the_fields_of_a_message_are_told_apart():
    # 1: 300 (varint), 2: "hi", 3: float 1.0, 4: double 1.0, 1: 1
    message = b"\x08\xac\x02\x12\x02hi\x1d\0\0\x80\x3f\x21\0\0\0\0\0\0\xf0\x3f"
    fields = protobuf_fields(message + b"\x08\x01")
    assert fields == {
        1: [300, 1],
        2: [b"hi"],
        3: [np.float32(1).tobytes()],
        4: [np.float64(1).tobytes()],
    }
    for spoilt in (
        message[:-1],
        b"\x08",
        b"\x0b",
        b"\x12\x05hi",
        b"\x08" + b"\xff" * 20,
    ):
        with pytest.raises(ValueError, match="Received"):
            protobuf_fields(spoilt)
