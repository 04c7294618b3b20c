"""What other libraries ask of a .tflite file: metadata, and files attached to it.

MediaPipe and the TFLite Task Library read them; an interpreter passes them over.
The files are a plain ZIP behind the flatbuffer, the metadata one of its buffers.
"""

import io
import math
import zipfile

import numpy as np

from keras_distill.tflite.graph import parse, read_graph, serialize
from keras_distill.tflite.metadata_schema import (
    COLOR_SPACES,
    FILE_TYPES,
    decode_metadata,
    encode_metadata,
)

ENTRY = b"TFLITE_METADATA"
# The oldest parser that knows what is used here, and the one that knows indexes.
PARSER, INDEX_PARSER = "1.0.0", "1.4.0"
# Neither a flatbuffer nor what reads the ZIP behind it goes beyond.
MOST_BYTES = 2**31 - 1
# By the number of channels; any other is of an unknown colour space.
_COLOR_SPACE = {1: "grayscale", 3: "rgb"}


def add_metadata(model, name, description="", version="", files=None, index=None):
    """Describes the input and the output of an embedder, for other libraries.

    The input is an image of pixels from 0 to 255, RGB or grey by its channels, the
    output a feature vector. Nothing is said of mean and deviation: the preprocessing
    is in the graph, and a library told of it would do it twice. Metadata and files
    that are there already are replaced. What the model computes stays the same, bit
    for bit; the same arguments give the same bytes.

    Args:
        model: Bytes of a .tflite as `keras_distill.tflite.convert` makes it: `image`
            uint8[1, height, width, channels] in, float32[1, dim] out.
        name: String, what the model is called.
        description: String. Defaults to `""`.
        version: String, of the model. Defaults to `""`.
        files: Dictionary from names to bytes, files to attach. Defaults to none.
        index: Pair `(name, bytes)`: an index for the Task Library's searchers (see
            `keras_distill.retrieval.write_task_index`), attached to the output.
            Defaults to none.

    Returns:
        Bytes.

    Raises:
        ValueError: If the model is no such embedder, a file's name is empty, has a
            `/` or is taken twice, or the result would have 2 GB or more.
    """
    _check_embedder(read_graph(model))
    files, attached = dict(files or {}), []
    if index is not None:
        if index[0] in files:
            raise ValueError(
                "Every attached file needs its own name. "
                f"Received: {index[0]!r} among files and as index"
            )
        attached = [{"name": index[0], "type": FILE_TYPES["scann_index"]}]
    metadata = {
        "name": name,
        "description": description,
        "version": version,
        "subgraph_metadata": [_subgraph(read_graph(model), attached)],
        "min_parser_version": PARSER if index is None else INDEX_PARSER,
    }
    if files:
        metadata["associated_files"] = [
            {"name": file, "type": FILE_TYPES["unknown"]} for file in files
        ]
    if index is not None:
        files[index[0]] = index[1]
    for file in files:
        if not file or "/" in file or "\\" in file or "\0" in file:
            raise ValueError(
                "The name of an attached file must be one without folders. "
                f"Received: {file!r}"
            )
    size = len(model) + sum(map(len, files.values()))
    if size > MOST_BYTES - 2**20:
        raise ValueError(
            f"A .tflite with all that is attached to it must stay below 2 GB. "
            f"Received: {size / 1e9:.2f} GB"
        )
    return _attached(_with_buffer(model, encode_metadata(metadata)), files)


def read_metadata(model):
    """The metadata of a .tflite: `add_metadata`'s, or another writer's.

    Args:
        model: Bytes of the file.

    Returns:
        Dictionary of what is known of its fields, see
        `keras_distill.tflite.metadata_schema`; `None` if it has no metadata.

    Raises:
        ValueError: If the file or its metadata cannot be read.
    """
    parsed = parse(model)
    for entry in parsed.metadata or []:
        if entry.name == ENTRY:
            return decode_metadata(parsed.buffers[entry.buffer].data.tobytes())
    return None


def read_files(model):
    """The files attached to a .tflite.

    Args:
        model: Bytes of the file.

    Returns:
        Dictionary from names to bytes; empty if there are none.

    Raises:
        ValueError: If there were files and they are damaged.
    """
    stream = io.BytesIO(bytes(model))
    if not zipfile.is_zipfile(stream):
        return {}
    try:
        with zipfile.ZipFile(stream) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"The files attached to a .tflite are damaged: {error}. "
            f"Received: {len(model)} bytes"
        ) from error


def _check_embedder(graph):
    """Raises ValueError unless the graph is one image to one row."""
    found = [
        [(name, t.dtype, t.shape) for name, t in sides[side].items()]
        for sides in graph.signatures.values()
        for side in ("inputs", "outputs")
    ]
    if (
        len(found) != 2
        or [len(side) for side in found] != [1, 1]
        or found[0][0][1] != "UINT8"
        or len(found[0][0][2]) != 4
        or found[1][0][1] != "FLOAT32"
        or len(found[1][0][2]) != 2
    ):
        raise ValueError(
            "The model must be an embedder of one signature, uint8[1, height, width, "
            "channels] to float32[1, dim], with its preprocessing inside. "
            f"Received: inputs and outputs {found}"
        )


def _subgraph(graph, attached):
    ((sides),) = graph.signatures.values()
    ((image, taken),) = sides["inputs"].items()
    ((embedding, given),) = sides["outputs"].items()
    _, height, width, channels = taken.shape
    output = {
        "name": embedding,
        "description": f"{math.prod(given.shape)} numbers that say what it looks like.",
        "content": {"type": 1, "properties": {}},
    }
    if attached:
        output["associated_files"] = attached
    return {
        "input_tensor_metadata": [
            {
                "name": image,
                "description": f"Image of {height} x {width} pixels, 0 to 255.",
                "content": {
                    "type": 2,
                    "properties": {
                        "color_space": COLOR_SPACES[
                            _COLOR_SPACE.get(channels, "unknown")
                        ],
                        "default_size": {"width": width, "height": height},
                    },
                },
                "stats": {"max": [255.0], "min": [0.0]},
            }
        ],
        "output_tensor_metadata": [output],
    }


def _with_buffer(model, metadata):
    """The .tflite with `metadata` as the buffer of that name; what it had is gone."""
    from ai_edge_litert import schema_py_generated as schema

    parsed = parse(model)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(metadata, np.uint8)
    entries = list(parsed.metadata or [])
    mine = next((entry for entry in entries if entry.name == ENTRY), None)
    if mine is None:
        mine = schema.MetadataT()
        mine.name, mine.buffer = ENTRY.decode(), len(parsed.buffers)
        parsed.buffers.append(buffer)
        parsed.metadata = [*entries, mine]
    else:
        parsed.buffers[mine.buffer] = buffer
    return serialize(parsed)


def _attached(model, files):
    if not files:
        return model
    stream = io.BytesIO(model)
    # Uncompressed: the libraries read the files where they lie.
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            # A fixed date, so that the same files give the same bytes.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
    return stream.getvalue()
