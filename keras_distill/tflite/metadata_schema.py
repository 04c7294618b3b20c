"""The flatbuffer schema of TFLite metadata, as data, with what writes and reads it.

A table is a dictionary of its fields, as in `{"name": "image", "stats": {"max":
[255.0], "min": [0.0]}}`. Here is the part of the schema that an embedder needs
(`metadata_schema.fbs` of tflite-support, file identifier `M001`); of a field that
is not here the place is kept, and it is passed over when read.
"""

import numpy as np

IDENTIFIER = b"M001"
ROOT = "ModelMetadata"
COLOR_SPACES = {"unknown": 0, "rgb": 1, "grayscale": 2}
FILE_TYPES = {"unknown": 0, "descriptions": 1, "scann_index": 6}

# What a field holds: a scalar by its type, in lower case, `str`, the name of a table,
# or a list of one of these. `None` is a field that is not read. A field's place in
# the tuple is its place in the schema, and must never change.
SCALARS = ("int8", "uint8", "uint32", "float32")
TABLES = {
    "ModelMetadata": (
        ("name", str),
        ("description", str),
        ("version", str),
        ("subgraph_metadata", ["SubGraphMetadata"]),
        ("author", str),
        ("license", str),
        ("associated_files", ["AssociatedFile"]),
        ("min_parser_version", str),
    ),
    "SubGraphMetadata": (
        ("name", str),
        ("description", str),
        ("input_tensor_metadata", ["TensorMetadata"]),
        ("output_tensor_metadata", ["TensorMetadata"]),
    ),
    "TensorMetadata": (
        ("name", str),
        ("description", str),
        ("dimension_names", None),
        ("content", "Content"),
        ("process_units", ["ProcessUnit"]),
        ("stats", "Stats"),
        ("associated_files", ["AssociatedFile"]),
    ),
    # A union is two fields: which table it is, and the table.
    "Content": (("type", "uint8"), ("properties", "Properties"), ("range", None)),
    "FeatureProperties": (),
    "ImageProperties": (("color_space", "int8"), ("default_size", "ImageSize")),
    "ImageSize": (("width", "uint32"), ("height", "uint32")),
    "ProcessUnit": (("type", "uint8"), ("options", "Options")),
    "NormalizationOptions": (("mean", ["float32"]), ("std", ["float32"])),
    "Stats": (("max", ["float32"]), ("min", ["float32"])),
    "AssociatedFile": (("name", str), ("description", str), ("type", "int8")),
}
# The table that a union holds, by the type beside it.
UNIONS = {
    "Properties": {1: "FeatureProperties", 2: "ImageProperties"},
    "Options": {1: "NormalizationOptions"},
}


def encode_metadata(metadata):
    """Writes metadata as a flatbuffer; the same metadata gives the same bytes.

    Args:
        metadata: Dictionary of the fields of a `ModelMetadata`.

    Returns:
        Bytes.

    Raises:
        ValueError: If there is a field that the schema has not.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_write_table(builder, ROOT, metadata), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def decode_metadata(data):
    """Reads what `encode_metadata`, or another writer of metadata, has written.

    Args:
        data: Bytes.

    Returns:
        Dictionary of the fields of a `ModelMetadata` that are there and known.

    Raises:
        ValueError: If these are not the bytes of metadata.
    """
    from flatbuffers import encode, packer, table

    data = bytes(data)
    if data[4:8] != IDENTIFIER:
        raise ValueError(
            f"Expected TFLite metadata, which carry the mark {IDENTIFIER.decode()!r}. "
            f"Received: {len(data)} bytes that begin with {data[:8]!r}"
        )
    try:
        root = encode.Get(packer.uoffset, data, 0)
        return _read_table(table.Table(data, root), ROOT)
    except Exception as error:  # struct.error, IndexError, TypeError, RecursionError...
        raise ValueError(
            f"TFLite metadata cannot be read ({type(error).__name__}: {error}). "
            f"Received: {len(data)} bytes"
        ) from error


def _write_table(builder, name, fields):
    places = {field: i for i, (field, _) in enumerate(TABLES[name])}
    unknown = [field for field in fields if field not in places]
    if unknown:
        raise ValueError(
            f"{name} has the fields {', '.join(places) or 'none'}. "
            f"Received: {', '.join(unknown)}"
        )
    kinds, values = dict(TABLES[name]), {}
    for field, value in fields.items():
        kind = kinds[field]
        if isinstance(kind, str) and kind in UNIONS:
            kind = UNIONS[kind][fields["type"]]
        # What a table points to must be complete before the table begins.
        values[field] = (kind, _written(builder, kind, value))
    builder.StartObject(len(places))
    for field, (kind, value) in values.items():
        if kind in SCALARS:
            builder.PrependSlot(_flags(kind), places[field], value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(places[field], value, 0)
    return builder.EndObject()


def _written(builder, kind, value):
    """The scalar itself, or the offset at which all else has been written."""
    if kind is str:
        return builder.CreateString(value)
    if kind in SCALARS:
        return int(value)
    if isinstance(kind, str):
        return _write_table(builder, kind, value)
    (item,) = kind
    if item == "float32":
        return builder.CreateNumpyVector(np.asarray(value, "<f4"))
    offsets = [_written(builder, item, one) for one in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _read_table(buffer, name):
    found = {}
    for place, (field, kind) in enumerate(TABLES[name]):
        offset = buffer.Offset(4 + 2 * place)
        if not offset or kind is None:
            continue
        at = buffer.Pos + offset
        if isinstance(kind, str) and kind in UNIONS:
            kind = UNIONS[kind].get(found.get("type", 0))
            if kind is None:
                continue
        found[field] = _read(buffer, kind, at)
    return found


def _read(buffer, kind, at):
    if kind is str:
        return buffer.String(at).decode()
    if kind in SCALARS:
        return buffer.Get(_flags(kind), at)
    if isinstance(kind, str):
        return _read_table(type(buffer)(buffer.Bytes, buffer.Indirect(at)), kind)
    (item,) = kind
    start = buffer.Indirect(at)
    count = buffer.Get(_flags("uint32"), start)
    return [_read(buffer, item, start + 4 + 4 * i) for i in range(count)]


def _flags(kind):
    """A scalar's type as the library has it."""
    from flatbuffers import number_types

    return getattr(number_types, f"{kind.title()}Flags")
