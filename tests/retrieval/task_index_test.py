"""What the library's own builder and searcher make of it: tests/device/clients_test."""

import numpy as np
import pytest

from keras_distill.device.nearest import nearest
from keras_distill.retrieval import Partitions, TaskIndex, task_index, write_task_index
from keras_distill.retrieval.leveldb_table import read_table, write_table
from keras_distill.retrieval.protobuf_wire import field

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(60, 8)).astype(np.float32)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
IDS = [f"klass {i % 7}/Bild ä{i}.png" for i in range(60)]
CENTROIDS = ROWS[:12]
PARTS = Partitions(CENTROIDS, np.argmax(ROWS @ CENTROIDS.T, axis=1), searched=3)


def test_the_table_holds_rows_names_and_how_to_search():
    items = read_table(write_task_index(ROWS, IDS, user_info="made by us"))
    assert items[b"E_0"] == ROWS.astype("<f4").tobytes()
    assert [items[b"M_%d" % i].decode() for i in range(60)] == IDS
    assert items[b"USER_INFO"] == b"made by us"
    # Dot product, float rows of 8, one part that begins at 0.
    assert items[b"INDEX_CONFIG"] == bytes.fromhex("0a020801 1001 1808 220100")
    assert len(items) == 63


def test_names_are_counted_through_the_partitions():
    items = read_table(write_task_index(ROWS, IDS, PARTS))
    place = 0
    for part in range(12):
        members = np.flatnonzero(PARTS.assignment == part)
        assert items[b"E_%d" % part] == ROWS[members].tobytes()
        for row in members:
            assert items[b"M_%d" % place].decode() == IDS[row]
            place += 1
    assert place == 60


def test_without_partitions_it_finds_what_exact_search_does():
    index = TaskIndex(write_task_index(ROWS, IDS, user_info="made by us"))
    assert index.user_info == "made by us" and len(index) == 60
    scores, ids = index.search(ROWS, 5)
    best, rows = nearest(ROWS, ROWS, 5)
    assert ids == [[IDS[i] for i in row] for row in rows]
    np.testing.assert_allclose(scores, best, atol=1e-6)


def test_with_partitions_it_looks_into_the_likeliest_ones():
    index = TaskIndex(write_task_index(ROWS, IDS, PARTS))
    for query, scores, ids in zip(ROWS, *index.search(ROWS, 4), strict=True):
        parts = np.argsort(-(CENTROIDS @ query))[:3]
        rows = [i for i in range(60) if PARTS.assignment[i] in parts]
        rows = sorted(rows, key=lambda i: -float(ROWS[i] @ query))[:4]
        assert ids == [IDS[i] for i in rows]
        np.testing.assert_allclose(scores, [ROWS[i] @ query for i in rows], atol=1e-6)


def test_it_answers_fewer_where_its_parts_hold_fewer():
    few = Partitions(CENTROIDS, PARTS.assignment, searched=1)
    index = TaskIndex(write_task_index(ROWS, IDS, few))
    scores, ids = index.search(CENTROIDS[:1], 60)
    size = int(np.sum(PARTS.assignment == np.argmax(CENTROIDS @ CENTROIDS[0])))
    assert len(ids[0]) == len(scores[0]) == size < 60


def test_an_empty_part_is_no_fault():
    empty = Partitions(np.eye(8, dtype=np.float32), np.zeros(60, int), searched=1)
    index = TaskIndex(write_task_index(ROWS, IDS, empty))
    scores, ids = index.search(np.eye(8, dtype=np.float32)[3:4], 2)
    assert ids == [[]] and scores[0].shape == (0,)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100, 999, 1000])
def test_the_fraction_makes_the_device_search_that_many(parts):
    for searched in {1, (parts + 1) // 2, parts}:
        fraction = np.float32((searched - 0.5) / parts)
        # As the device computes it, in float32.
        assert min(int(np.ceil(np.float32(parts) * fraction)), parts) == searched
        centroids = np.tile(ROWS[:1], (parts, 1))
        made = Partitions(centroids, np.zeros(60, int), searched)
        index = TaskIndex(write_task_index(ROWS, IDS, made))
        assert index.partitions.searched == searched


def test_the_same_arguments_give_the_same_bytes():
    assert write_task_index(ROWS, IDS, PARTS) == write_task_index(ROWS, IDS, PARTS)


@pytest.mark.parametrize(
    "ids, message",
    [
        (IDS[:-1], "Every row needs an id. Received: 59 ids for 60 rows"),
        ([*IDS[:-1], IDS[3]], "Ids must differ.*ä3.png' more than once"),
        ([*IDS[:-1], ""], "not empty.*Received: ''"),
        ([*IDS[:-1], "a\0b"], "zero character.*Received: 'a.x00b'"),
        # The name of a file that is not UTF-8, as the system gives it to Python.
        ([*IDS[:-1], "\udcff.png"], r"UTF-8.*Received: '\\udcff.png'"),
    ],
)
def test_refuses_ids_that_the_format_cannot_hold(ids, message):
    with pytest.raises(ValueError, match=message):
        write_task_index(ROWS, ids)


@pytest.mark.parametrize(
    "rows, message",
    [
        (ROWS[:0], r"both above 0.*shape=\(0, 8\)"),
        (ROWS * 2, "rows of length one"),
        (np.full((60, 8), np.nan), "rows of length one"),
    ],
)
def test_refuses_what_are_no_unit_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        write_task_index(rows, IDS)


def test_refuses_more_than_the_format_holds(monkeypatch):
    with pytest.raises(ValueError, match="2,147,483,648 rows of 1.00 GB"):
        task_index.check_size(2**31, 10**9)
    with pytest.raises(ValueError, match="at most.*1 rows of 3.00 GB"):
        task_index.check_size(1, 3 * 10**9)
    monkeypatch.setattr(task_index, "MOST_ROWS", 59)
    with pytest.raises(ValueError, match="holds 59 rows.*Received: 60 rows"):
        write_task_index(ROWS, IDS)


@pytest.mark.parametrize(
    "parts",
    [
        Partitions(CENTROIDS[:, :4], PARTS.assignment, 3),
        Partitions(CENTROIDS, PARTS.assignment[:-1], 3),
        Partitions(CENTROIDS[:3], PARTS.assignment, 3),
        Partitions(CENTROIDS, PARTS.assignment - 1, 3),
        Partitions(CENTROIDS, PARTS.assignment, 0),
        Partitions(CENTROIDS, PARTS.assignment, 13),
    ],
)
def test_refuses_partitions_that_do_not_fit(parts):
    with pytest.raises(ValueError, match="Partitions must have.*Received: centroids"):
        write_task_index(ROWS, IDS, parts)


def changed(**changes):
    items = read_table(write_task_index(ROWS, IDS, PARTS))
    for key, value in changes.items():
        items[key.encode()] = value
    return write_table({key: v for key, v in items.items() if v is not None})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"INDEX_CONFIG": None}, "not whole.*INDEX_CONFIG"),
        ({"INDEX_CONFIG": b""}, "not whole"),
        ({"INDEX_CONFIG": b"\xff"}, "cut off"),
        ({"E_11": None}, "not whole.*E_11"),
        ({"E_3": bytes(33)}, "as many as their names"),
        ({"M_59": None}, "as many as their names"),
        ({"M_7": None, "M_60": b"x"}, "not whole.*M_7"),
        ({"M_7": b"\xff"}, "not whole.*UnicodeDecodeError"),
        # Codes of a codebook instead of rows.
        (
            {"INDEX_CONFIG": field(1, field(1, 1)) + field(2, 2) + field(3, 8)},
            "Only an index of float rows",
        ),
    ],
)
def test_refuses_an_index_that_is_not_whole(changes, message):
    with pytest.raises(ValueError, match=message):
        TaskIndex(changed(**changes))
