import struct

import pytest

from keras_distill.retrieval.protobuf_wire import field, fields, read_varint, varint


# The examples of https://protobuf.dev/programming-guides/encoding.
def test_writes_the_examples_of_the_documentation():
    assert field(1, 150) == bytes.fromhex("089601")
    assert field(2, b"testing") == bytes.fromhex("120774657374696e67")
    assert field(3, field(1, 150)) == bytes.fromhex("1a03089601")
    assert field(6, varint(3) + varint(270) + varint(86942)) == bytes.fromhex(
        "3206038e029ea705"
    )


def test_a_float_is_four_bytes():
    assert field(2, 0.25) == b"\x15" + struct.pack("<f", 0.25)


def test_reads_what_it_wrote_in_order():
    message = field(1, 7) + field(300, b"") + field(2, 0.5) + field(1, 2**40)
    assert fields(message) == {1: [7, 2**40], 300: [b""], 2: [0.5]}
    assert fields(b"") == {}


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63])
def test_integers_come_back(number):
    data = b"x" + varint(number) + b"y"
    assert read_varint(data, 1) == (number, len(data) - 1)


@pytest.mark.parametrize(
    "message", [b"\x08", b"\x12\x07test", b"\x15\x00\x00", b"\x80"]
)
def test_refuses_what_is_cut_off(message):
    with pytest.raises(ValueError, match="cut off.*Received: . bytes"):
        fields(message)


def test_refuses_other_forms():
    with pytest.raises(ValueError, match="Received: form 1 at byte 1"):
        fields(b"\x09" + bytes(8))
