"""What must hold of the bytes of a .tflite, whatever its graph."""

import struct

from keras_distill.tflite.verification_error import VerificationError

# Places of fields in the tables of the TensorFlow Lite metadata schema, version 1.5:
# the i-th field of a table lies behind the entry 4 + 2 i of its vtable.
_SUBGRAPHS, _INPUTS, _UNITS = 4 + 2 * 3, 4 + 2 * 2, 4 + 2 * 4
_KIND, _OPTIONS, _MEAN, _STD = 4, 6, 4, 6
_NORMALIZATION = 1  # of the union ProcessUnitOptions


def check_buffers(model):
    """Refuses a file that keeps constants behind its flatbuffer.

    Writers do so with large ones. The interpreters of today read them there; tools
    that add metadata cut them off, and runtimes in browsers fail on them.

    Args:
        model: Bytes of the .tflite.

    Raises:
        VerificationError: Its `check` is `"buffers"`.
    """
    from ai_edge_litert.schema_py_generated import Model

    file = Model.GetRootAs(bytes(model), 0)
    buffers = [file.Buffers(i) for i in range(file.BuffersLength())]
    outside = [buffer.Size() for buffer in buffers if buffer.Offset() > 1]
    if outside:
        raise VerificationError(
            "Every constant must lie inside the flatbuffer: tools that write metadata "
            f"lose what lies behind it. Received: {len(outside)} constants of "
            f"{sum(outside)} bytes behind it",
            "buffers",
        )


def check_normalization(model):
    """Refuses metadata that make a client normalise pixels which the graph does.

    A client such as MediaPipe computes (pixel - mean) / std as they say. The graph
    takes pixels 0 to 255, so that anything but 0 and 1 is done twice.

    Args:
        model: Bytes of the .tflite; most have no metadata.

    Raises:
        VerificationError: Its `check` is `"normalisation"`.
    """
    try:
        found = normalizations(model)
    except (struct.error, ValueError, IndexError) as error:
        raise VerificationError(
            "Metadata must be a flatbuffer of the TensorFlow Lite metadata schema. "
            f"Received: {type(error).__name__}: {error}",
            "normalisation",
        ) from error
    for mean, std in found:
        if any(mean) or any(value != 1 for value in std):
            raise VerificationError(
                "The pixels are normalised inside the graph: metadata must say mean 0 "
                f"and standard deviation 1, or nothing. Received: mean {mean}, "
                f"standard deviation {std}",
                "normalisation",
            )


def normalizations(model):
    """What the metadata of a .tflite make a client do to the pixels.

    Args:
        model: Bytes of the .tflite.

    Returns:
        List of `(mean, std)`, lists of floats, one for each such entry of an input.
    """
    from ai_edge_litert.schema_py_generated import Model

    file = Model.GetRootAs(bytes(model), 0)
    found = []
    for i in range(file.MetadataLength()):
        if file.Metadata(i).Name() != b"TFLITE_METADATA":
            continue
        content = file.Buffers(file.Metadata(i).Buffer()).DataAsNumpy().tobytes()
        for subgraph in _tables(_root(content), _SUBGRAPHS):
            for image in _tables(subgraph, _INPUTS):
                for unit in _tables(image, _UNITS):
                    found += _normalization(unit)
    return found


def _normalization(unit):
    from flatbuffers import number_types

    kind, options = unit.Offset(_KIND), unit.Offset(_OPTIONS)
    if (
        not (kind and options)
        or unit.Get(number_types.Uint8Flags, kind + unit.Pos) != _NORMALIZATION
    ):
        return []
    table = _table(unit.Bytes, unit.Indirect(options + unit.Pos))
    return [(_floats(table, _MEAN), _floats(table, _STD))]


def _root(content):
    from flatbuffers import encode, packer

    return _table(content, encode.Get(packer.uoffset, content, 0))


def _table(content, place):
    from flatbuffers.table import Table

    return Table(content, place)


def _tables(table, field):
    """The tables of a vector that is a field of a table."""
    offset = table.Offset(field)
    for i in range(table.VectorLen(offset) if offset else 0):
        yield _table(table.Bytes, table.Indirect(table.Vector(offset) + 4 * i))


def _floats(table, field):
    from flatbuffers import number_types

    offset = table.Offset(field)
    return [
        table.Get(number_types.Float32Flags, table.Vector(offset) + 4 * i)
        for i in range(table.VectorLen(offset) if offset else 0)
    ]
