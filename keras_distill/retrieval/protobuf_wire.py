"""Protocol buffers on the wire, as far as an index needs them: fields of messages.

https://protobuf.dev/programming-guides/encoding: each field is its number and the
form of what follows, a variable-length integer, four bytes, or a length and bytes.
"""

import struct

_VARINT, _BYTES, _FIXED32 = 0, 2, 5


def field(number, value):
    """A field of a message.

    Args:
        number: Positive integer, the field's.
        value: Integer >= 0 or an enumeration's; float, stored as float32; or bytes:
            a message, a string, or packed numbers.

    Returns:
        Bytes; a message is its fields one after another.
    """
    if isinstance(value, float):
        return varint(number << 3 | _FIXED32) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3 | _VARINT) + varint(value)
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def fields(message):
    """What a message holds.

    Args:
        message: Bytes.

    Returns:
        Dictionary from the numbers of fields to lists of their values, in order:
        integers, floats or bytes, see `field`.

    Raises:
        ValueError: If the message is cut off or has fields of other forms.
    """
    found, at = {}, 0
    try:
        while at < len(message):
            key, at = read_varint(message, at)
            number, form = key >> 3, key & 7
            if form == _VARINT:
                value, at = read_varint(message, at)
            elif form == _FIXED32:
                (value,) = struct.unpack("<f", message[at : at + 4])
                at += 4
            elif form == _BYTES:
                length, at = read_varint(message, at)
                value = message[at : at + length]
                if len(value) != length:
                    raise IndexError(f"{length} bytes at {at}")
                at += length
            else:
                raise ValueError(
                    "Fields of a message must be integers, four bytes, or a length and "
                    f"bytes. Received: form {form} at byte {at}"
                )
            found.setdefault(number, []).append(value)
    except (IndexError, struct.error) as error:
        raise ValueError(
            f"The message is cut off ({error}). Received: {len(message)} bytes"
        ) from error
    return found


def varint(number):
    """An integer >= 0, seven bits a byte, the lowest first; the top bit says more."""
    result = bytearray()
    while number > 0x7F:
        result.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*result, number))


def read_varint(data, at):
    """The integer at byte `at`, and where it ends; IndexError if it is cut off."""
    number, shift = 0, 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
