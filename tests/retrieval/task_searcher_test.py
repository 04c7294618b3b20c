"""That the Task Library loads it is in tests/device/clients_test."""

import importlib
import json

import numpy as np
import pytest

from keras_distill import retrieval, tflite
from keras_distill.data.image_set import ImageSet
from keras_distill.device.embedder import Embedder
from keras_distill.retrieval import TaskIndex, task_searcher
from keras_distill.retrieval.task_searcher import check_task_library
from tests import tiny_embedder


@pytest.fixture(scope="module")
def rows():
    images, _ = tiny_embedder.images()
    return Embedder(tiny_embedder.converted("int8")).embed(images)


def searcher(rows, **changes):
    images, _ = tiny_embedder.images()
    arguments = {
        "model": tiny_embedder.converted("int8"),
        "embeddings": rows,
        "ids": tiny_embedder.catalogue().ids,
        "images": images[::10],
        "name": "tiny",
    }
    return task_searcher(**{**arguments, **changes})


def test_one_file_holds_the_embedder_and_its_catalogue(rows):
    made = searcher(rows)
    images, _ = tiny_embedder.images()
    embedder = Embedder(made.model)
    np.testing.assert_array_equal(embedder.embed(images.repeat(3, axis=-1)), rows)
    (index,) = tflite.read_files(made.model).values()
    index = TaskIndex(index)
    np.testing.assert_array_equal(index.rows, rows)
    assert tuple(index.ids) == tiny_embedder.catalogue().ids
    assert json.loads(index.user_info)["model"] == "tiny"


def test_the_section_says_what_was_measured(rows):
    made = searcher(rows)
    difference = made.section.pop("score_difference")
    assert 0 <= difference < 1e-6
    assert made.section == {
        "file": "task_searcher.tflite",
        "bytes": len(made.model),
        "input": {"shape": [32, 32, 3], "color_space": "rgb"},
        "index": {
            "kind": "brute_force",
            "partitions": 1,
            "searched": 1,
            "bytes": len(tflite.read_files(made.model)["scann_index.ldb"]),
        },
        "embedding_difference": 0.0,
        "queries": 120,
        "recall_at_10": 1.0,
        "overlap_at_10": 1.0,
    }


def test_a_tree_looks_into_parts_of_the_catalogue(rows):
    section = searcher(rows, kind="tree", recall=0.8).section
    assert section["index"]["kind"] == "tree"
    assert section["index"]["partitions"] == 11  # the square root of 120
    assert 1 <= section["index"]["searched"] < 11
    assert 0.78 <= section["recall_at_10"] < 1
    # No two images of this catalogue are equally near to a third.
    assert section["overlap_at_10"] == section["recall_at_10"]


def test_of_equal_rows_either_counts_as_found_but_has_another_id(rows):
    twice = np.concatenate([rows, rows])
    names = [f"{number}" for number in range(240)]
    made = searcher(twice, ids=names)
    index = TaskIndex(tflite.read_files(made.model)["scann_index.ldb"])
    chosen = twice[np.linspace(0, 239, made.section["queries"]).astype(int)]
    _, found = index.search(chosen, 10)
    same = 0
    for query, ids in zip(chosen, found, strict=True):
        exact = np.argsort(-(twice @ query), kind="stable")[:10]
        same += len({*ids} & {names[row] for row in exact})
    assert made.section["recall_at_10"] == 1.0
    assert made.section["overlap_at_10"] == pytest.approx(same / 2400, abs=0.01)


def test_the_same_arguments_give_the_same_bytes(rows):
    assert searcher(rows).model == searcher(rows).model


def test_an_index_that_finds_too_little_is_not_returned(rows, monkeypatch):
    def blind(rows, recall):
        parts = retrieval.partition(rows, recall)
        return type(parts)(parts.centroids, parts.assignment, 1)

    module = importlib.import_module("keras_distill.retrieval.task_searcher")
    monkeypatch.setattr(module, "partition", blind)
    with pytest.raises(tflite.VerificationError, match="must find 0.97") as caught:
        searcher(rows, kind="tree")
    assert caught.value.check == "recall"


def test_a_file_that_embeds_otherwise_is_not_returned(rows, monkeypatch):
    other = tiny_embedder.converted("float32")
    monkeypatch.setattr(tflite, "with_colour_input", lambda model: other)
    with pytest.raises(tflite.VerificationError, match="bit for bit") as caught:
        searcher(rows)
    assert caught.value.check == "embedding"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ids": ["a"] * 120}, "Ids must differ"),
        ({"ids": ["a"]}, "1 ids for 120 rows"),
        ({"embeddings": np.zeros((0, 16))}, "both above 0"),
        ({"model": b"no model"}, "mark 'TFL3'"),
        ({"kind": "nonsense"}, "kind='nonsense'"),
        ({"kind": "tree", "recall": 2}, "recall=2"),
    ],
)
def test_refuses_bad_input(rows, changes, message):
    with pytest.raises(ValueError, match=message):
        searcher(**{"rows": rows, **changes})


def image_set(ids):
    images = np.zeros((len(ids), 4, 4, 1), np.uint8)
    return ImageSet(images, [0] * len(ids), ids=ids)


def test_a_catalogue_is_refused_before_anything_is_done():
    check_task_library(image_set(["a", "b"]), 64)
    with pytest.raises(ValueError, match="UTF-8.*udcff"):
        check_task_library(image_set(["a", "\udcff"]), 64)
    with pytest.raises(ValueError, match="GB at most.*Received: 2 rows of 8"):
        check_task_library(image_set(["a", "b"]), 10**9)
