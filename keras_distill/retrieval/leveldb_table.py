"""One table file of LevelDB, written and read: sorted keys with their values.

Google, `doc/table_format.md` of LevelDB. A file is blocks of some 4 kB of entries,
then an index of them, then a footer of 48 bytes. An entry leaves out what its key has
in common with the one before, but for every sixteenth, where a search may start.
Nothing is compressed, and there are no filters.
"""

import struct

from keras_distill.retrieval.crc32c import crc32c, masked
from keras_distill.retrieval.protobuf_wire import read_varint, varint

BLOCK_BYTES, RESTART_INTERVAL = 4096, 16
MAGIC = 0xDB4775248B80FB57
_FOOTER, _TRAILER = 48, 5
# The length of a value is a uint32 to LevelDB.
MOST_VALUE_BYTES = 2**32 - 1


class TableError(ValueError):
    """These bytes are no table of LevelDB, or a damaged one."""


def write_table(items):
    """Writes a table.

    Args:
        items: Dictionary from keys to values, both bytes; at least one.

    Returns:
        Bytes, the same for the same items in any order.

    Raises:
        ValueError: If there are no items, or a value has 4 GB or more.
    """
    if not items:
        raise ValueError("A table needs an item. Received: items={}")
    parts, size = [], 0

    def append(block):
        """Appends a block and its checksum; gives what points to it."""
        nonlocal size
        body = block.finished()
        handle = varint(size) + varint(len(body))
        trailer = b"\0"  # 0 is no compression, and part of what is summed
        parts.extend((body, trailer, struct.pack("<I", masked(crc32c(body + trailer)))))
        size += len(body) + _TRAILER
        return handle

    index, block, last, pending = _Block(1), _Block(RESTART_INTERVAL), b"", None
    for key in sorted(items):
        if len(items[key]) > MOST_VALUE_BYTES:
            raise ValueError(
                "A value must be smaller than 4 GB. "
                f"Received: {len(items[key])} bytes under {key!r}"
            )
        if pending is not None:
            index.add(_separator(last, key), pending)
            pending = None
        block.add(key, items[key])
        last = key
        if block.size >= BLOCK_BYTES:
            pending, block = append(block), _Block(RESTART_INTERVAL)
    if not block.empty:
        pending = append(block)
    if pending is not None:
        index.add(_successor(last), pending)
    filters = append(_Block(RESTART_INTERVAL))
    handles = filters + append(index)
    parts.append(handles.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", MAGIC))
    return b"".join(parts)


def read_table(data):
    """Reads a table that is not compressed.

    Args:
        data: Bytes.

    Returns:
        Dictionary from keys to values, in the order of keys.

    Raises:
        TableError: A `ValueError`; if a checksum, the order of keys or the form is
            not that of a table, or it is compressed.
    """
    if len(data) < _FOOTER or data[-8:] != struct.pack("<Q", MAGIC):
        raise TableError(
            "A table of LevelDB ends with its mark. "
            f"Received: {len(data)} bytes that end with {bytes(data[-8:])!r}"
        )
    try:
        footer = data[-_FOOTER:]
        filters, at = _read_handle(footer, 0)
        _body(data, *filters)  # Not used, but part of what must be whole.
        index, _ = _read_handle(footer, at)
        items, last = {}, b""
        for _, handle in _entries(_body(data, *index)):
            block, _ = _read_handle(handle, 0)
            for key, value in _entries(_body(data, *block)):
                if items and key <= last:
                    raise TableError(
                        f"Keys of a table must rise. Received: {key!r} after {last!r}"
                    )
                items[key], last = value, key
        return items
    except (IndexError, struct.error) as error:
        raise TableError(
            f"The table is damaged ({error}). Received: {len(data)} bytes"
        ) from error


class _Block:
    """Entries one after another, then where a search may start, and their count."""

    def __init__(self, interval):
        self._interval = interval
        self._parts, self._restarts, self._count, self._last = [], [0], 0, b""
        self._bytes = 0

    @property
    def empty(self):
        return not self._count

    @property
    def size(self):
        return self._bytes + 4 * len(self._restarts) + 4

    def add(self, key, value):
        shared = 0
        if self._count % self._interval:
            shared = _common(self._last, key)
        elif self._count:
            self._restarts.append(self._bytes)
        head = varint(shared) + varint(len(key) - shared) + varint(len(value))
        self._parts += (head, key[shared:], value)
        self._bytes += len(head) + len(key) - shared + len(value)
        self._count, self._last = self._count + 1, key

    def finished(self):
        numbers = (*self._restarts, len(self._restarts))
        return b"".join((*self._parts, struct.pack(f"<{len(numbers)}I", *numbers)))


def _common(first, second):
    """How many bytes two keys begin with in common."""
    length = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        length += 1
    return length


def _separator(last, following):
    """A short key, not below the last of a block and below the next one's first."""
    shared = _common(last, following)
    if shared < min(len(last), len(following)):
        byte = last[shared] + 1
        if byte < following[shared]:
            return last[:shared] + bytes((byte,))
    return last


def _successor(last):
    """A short key, not below the last of all."""
    for i, byte in enumerate(last):
        if byte != 0xFF:
            return last[:i] + bytes((byte + 1,))
    return last


def _body(data, start, size):
    """A block without its trailer, its checksum compared."""
    body, trailer = data[start : start + size], data[start + size :][:_TRAILER]
    if len(body) != size or len(trailer) != _TRAILER:
        raise TableError(
            f"A block of a table must lie inside it. Received: {size} bytes at {start} "
            f"of {len(data)}"
        )
    if trailer[0]:
        raise TableError(
            "Only tables without compression can be read. "
            f"Received: a block of compression {trailer[0]} at {start}"
        )
    (stored,) = struct.unpack("<I", trailer[1:])
    if stored != masked(crc32c(body + trailer[:1])):
        raise TableError(
            "A block of the table has been altered since it was written. "
            f"Received: a wrong checksum of the {size} bytes at {start}"
        )
    return body


def _entries(body):
    """Yields the keys and values of a block."""
    (count,) = struct.unpack("<I", body[-4:])
    end, at, key = len(body) - 4 * (count + 1), 0, b""
    while at < end:
        shared, at = read_varint(body, at)
        own, at = read_varint(body, at)
        length, at = read_varint(body, at)
        if shared > len(key) or at + own + length > end:
            raise TableError(f"An entry reaches out of its block. Received: byte {at}")
        key = key[:shared] + body[at : at + own]
        at += own
        yield key, body[at : at + length]
        at += length


def _read_handle(data, at):
    start, at = read_varint(data, at)
    size, at = read_varint(data, at)
    return (start, size), at
