"""What the libraries themselves make of it is in tests/device/clients_test."""

import io
import zipfile

import numpy as np
import pytest

from keras_distill import tflite
from keras_distill.device.embedder import Embedder
from keras_distill.tflite import add_metadata, metadata, read_files, read_metadata
from keras_distill.tflite.metadata_schema import decode_metadata, encode_metadata
from tests import tiny_embedder


# A file of int8-qat is one of int8, and costs a training.
@pytest.mark.parametrize("mode", [mode for mode in tflite.MODES if mode != "int8-qat"])
def test_the_outputs_stay_bit_for_bit(mode):
    images, _ = tiny_embedder.images()
    model = tiny_embedder.converted(mode)
    with_all = add_metadata(model, "a", "b", "1", {"x.json": b"{}"}, ("i", bytes(999)))
    before, after = (Embedder(some).embed(images) for some in (model, with_all))
    np.testing.assert_array_equal(before, after)


def test_it_says_what_goes_in_and_what_comes_out():
    model = add_metadata(tiny_embedder.converted(), "tiny", "It embeds.", "1.2")
    found = read_metadata(model)
    assert (found["name"], found["description"]) == ("tiny", "It embeds.")
    assert (found["version"], found["min_parser_version"]) == ("1.2", "1.0.0")
    (graph,) = found["subgraph_metadata"]
    (image,), (embedding,) = (
        graph[f"{side}_tensor_metadata"] for side in ("input", "output")
    )
    assert image["name"] == "image"
    assert image["content"] == {
        "type": 2,
        "properties": {
            "color_space": 2,
            "default_size": {"width": 32, "height": 32},
        },
    }
    assert image["stats"] == {"max": [255.0], "min": [0.0]}
    assert embedding["name"] == "embedding"
    assert embedding["content"] == {"type": 1, "properties": {}}


def test_nobody_is_told_to_normalise_what_the_graph_normalises():
    found = read_metadata(add_metadata(tiny_embedder.converted("int8"), "tiny"))
    (graph,) = found["subgraph_metadata"]
    for tensor in graph["input_tensor_metadata"] + graph["output_tensor_metadata"]:
        assert "process_units" not in tensor


def test_attached_files_are_a_plain_zip_behind_the_model():
    index = bytes(range(256)) * 20
    model = add_metadata(
        tiny_embedder.converted(), "tiny", files={"a.txt": b"A"}, index=("b.ldb", index)
    )
    assert read_files(model) == {"a.txt": b"A", "b.ldb": index}
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
    found = read_metadata(model)
    assert found["associated_files"] == [{"name": "a.txt"}]  # of type 0, the default
    (output,) = found["subgraph_metadata"][0]["output_tensor_metadata"]
    assert output["associated_files"] == [{"name": "b.ldb", "type": 6}]
    assert found["min_parser_version"] == "1.4.0"


def test_adding_twice_is_adding_the_last():
    model = tiny_embedder.converted()
    twice = add_metadata(
        add_metadata(model, "first", files={"old": b"1"}), "second", files={"new": b"2"}
    )
    assert read_files(twice) == {"new": b"2"}
    assert read_metadata(twice)["name"] == "second"
    once = add_metadata(model, "second", files={"new": b"2"})
    assert len(twice) == len(once)
    assert once == add_metadata(model, "second", files={"new": b"2"})


def test_what_the_converter_wrote_of_itself_is_kept():
    model = tiny_embedder.converted()
    before = {entry.name for entry in tflite.graph.parse(model).metadata}
    after = {e.name for e in tflite.graph.parse(add_metadata(model, "x")).metadata}
    assert before and after == before | {b"TFLITE_METADATA"}


def test_a_file_without_metadata_has_none():
    assert read_metadata(tiny_embedder.converted()) is None
    assert read_files(tiny_embedder.converted()) == {}


def test_refuses_what_is_no_tflite():
    with pytest.raises(ValueError, match="mark 'TFL3'"):
        add_metadata(b"no model", "x")


def test_refuses_what_takes_no_uint8_image():
    from ai_edge_litert.schema_py_generated import TensorType

    parsed = tflite.graph.parse(tiny_embedder.converted())
    (graph,) = parsed.subgraphs
    graph.tensors[graph.inputs[0]].type = TensorType.FLOAT32
    model = tflite.graph.serialize(parsed)
    with pytest.raises(ValueError, match=r"preprocessing inside.*'FLOAT32', \(1, 32"):
        add_metadata(model, "x")


@pytest.mark.parametrize("length", [8, 12, 200, 5000])
def test_refuses_a_file_that_is_cut_off(length):
    # A flatbuffer is read from its end: what is left refers to what is gone.
    model = tiny_embedder.converted()[:length]
    for read in (read_metadata, lambda some: add_metadata(some, "x")):
        with pytest.raises(ValueError, match=f"is damaged.*Received: {length} bytes"):
            read(model)


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "a\0"])
def test_refuses_names_of_files_that_are_paths(name):
    with pytest.raises(ValueError, match="one without folders. Received: "):
        add_metadata(tiny_embedder.converted(), "x", files={name: b""})


def test_refuses_a_name_taken_twice():
    with pytest.raises(ValueError, match="'i' among files and as index"):
        add_metadata(tiny_embedder.converted(), "x", files={"i": b""}, index=("i", b""))


def test_refuses_what_would_be_too_large(monkeypatch):
    monkeypatch.setattr(metadata, "MOST_BYTES", 2**20 + 300_000)
    with pytest.raises(ValueError, match="stay below 2 GB. Received: 0.00 GB"):
        add_metadata(tiny_embedder.converted(), "x", files={"f": bytes(200_000)})


def test_a_damaged_attachment_is_named():
    model = add_metadata(tiny_embedder.converted(), "x", files={"f": b"contents"})
    with pytest.raises(ValueError, match="attached to a .tflite are damaged: Bad CRC"):
        read_files(model.replace(b"contents", b"c0ntents"))


METADATA = {
    "name": "größer",
    "subgraph_metadata": [
        {"input_tensor_metadata": [{"name": "a"}, {"stats": {"max": [1.5, 2.0]}}]},
        {},
    ],
}


def test_the_writer_and_the_reader_agree():
    assert decode_metadata(encode_metadata(METADATA)) == METADATA
    assert decode_metadata(encode_metadata({})) == {}
    normalised = {"mean": [127.5], "std": [127.5]}
    unit = {"process_units": [{"type": 1, "options": normalised}]}
    made = {"subgraph_metadata": [{"input_tensor_metadata": [unit]}]}
    assert decode_metadata(encode_metadata(made)) == made


def test_refuses_fields_that_the_schema_has_not():
    with pytest.raises(ValueError, match="Stats has the fields max, min. Received: me"):
        tensor = {"stats": {"mean": [0.0]}}
        encode_metadata({"subgraph_metadata": [{"input_tensor_metadata": [tensor]}]})


def test_altered_metadata_are_refused_or_read_without_a_crash():
    data = encode_metadata(METADATA)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(500):
        altered = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            altered[at] = rng.integers(256)
        try:
            assert isinstance(decode_metadata(altered[: rng.integers(1, 400)]), dict)
        except ValueError as error:
            assert "Received: " in str(error)
            refused += 1
    assert refused > 100
