"""The fields of a protobuf message, without its description."""

import collections


def protobuf_fields(message):
    """Splits a message by the wire format, one level deep.

    Args:
        message: Bytes.

    Returns:
        Dictionary from the number of a field to the list of its values: integers, or
        bytes (of inner messages, strings, packed numbers, and numbers of fixed size).

    Raises:
        ValueError: If the bytes are no message.
    """
    fields = collections.defaultdict(list)
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(message, place)
        else:
            if kind == 2:
                size, place = _varint(message, place)
            elif kind in (1, 5):
                size = {1: 8, 5: 4}[kind]
            else:
                raise ValueError(f"A field has an unknown kind. Received: {kind}")
            value, place = message[place : place + size], place + size
            if place > len(message):
                raise ValueError(
                    f"A message ends within a field. Received: {len(message)} bytes"
                )
        fields[tag >> 3].append(value)
    return dict(fields)


def _varint(message, place):
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError(f"A message ends within a number. Received: {len(message)} bytes")
