import numpy as np
import pytest

from keras_distill.retrieval import leveldb_table
from keras_distill.retrieval.leveldb_table import TableError, read_table, write_table

ITEMS = {b"M_%d" % i: b"name of %d" % i * (i % 5) for i in range(300)}


def test_reads_what_it_wrote_in_the_order_of_keys():
    items = {**ITEMS, b"E_0": bytes(30_000), b"E_1": b"", b"E_10": b"x", b"E_2": b"y"}
    found = read_table(write_table(items))
    assert found == items
    assert list(found) == sorted(items)
    assert list(found)[:4] == [b"E_0", b"E_1", b"E_10", b"E_2"]


def test_the_order_of_the_items_does_not_matter():
    again = dict(sorted(ITEMS.items(), reverse=True))
    assert write_table(again) == write_table(ITEMS)


def test_a_table_of_one_item_is_what_the_format_says():
    # One block: nothing shared, one byte of key, one of value; one restart, at 0.
    block = b"\x00\x01\x01kv" + bytes(4) + b"\x01\x00\x00\x00"
    table = write_table({b"k": b"v"})
    assert table.startswith(block + b"\x00")
    assert table[-8:] == bytes.fromhex("57fb808b247547db")
    assert len(table) == (len(block) + 5) + (8 + 5) + (6 + 8 + 5) + 48


def test_keys_share_their_beginnings():
    keys = {b"the same long beginning %03d" % i: b"" for i in range(100)}
    assert len(write_table(keys)) < sum(map(len, keys)) / 2


def test_refuses_no_items():
    with pytest.raises(ValueError, match="Received: items={}"):
        write_table({})


def test_refuses_a_value_that_its_length_cannot_say(monkeypatch):
    monkeypatch.setattr(leveldb_table, "MOST_VALUE_BYTES", 9)
    with pytest.raises(ValueError, match="Received: 10 bytes under b'k'"):
        write_table({b"k": bytes(10)})


@pytest.mark.parametrize("data", [b"", b"no table", bytes(100)])
def test_refuses_what_is_no_table(data):
    with pytest.raises(TableError, match=f"its mark. Received: {len(data)} bytes"):
        read_table(data)


def test_every_altered_block_is_noticed():
    table = write_table(ITEMS)
    for at in np.random.default_rng(0).integers(0, len(table) - 48, 100):
        altered = bytearray(table)
        altered[at] ^= 0x10
        with pytest.raises(TableError, match="Received"):
            read_table(bytes(altered))


def test_an_altered_footer_is_noticed_or_harmless():
    table = write_table(ITEMS)
    for at in range(len(table) - 48, len(table)):
        for bit in range(8):
            altered = bytearray(table)
            altered[at] ^= 1 << bit
            try:
                assert read_table(bytes(altered)) == ITEMS
            except TableError as error:
                assert "Received" in str(error)


def test_a_truncated_table_is_noticed():
    table = write_table(ITEMS)
    for length in range(0, len(table), 197):
        with pytest.raises(TableError):
            read_table(table[:length])
        with pytest.raises(TableError):
            read_table(table[length + 1 :])


def test_a_compressed_block_is_refused():
    from keras_distill.retrieval.crc32c import crc32c, masked

    table = bytearray(write_table({b"k": b"v"}))
    table[13] = 1  # after the 13 bytes of the only block
    checksum = masked(crc32c(bytes(table[:14])))
    table[14:18] = checksum.to_bytes(4, "little")
    with pytest.raises(TableError, match="a block of compression 1 at 0"):
        read_table(bytes(table))
