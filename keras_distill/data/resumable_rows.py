"""Rows of an `.npy` file, written block by block, of which none is lost by a kill."""

import contextlib
import os
import pathlib
import zlib

import numpy as np

_FLOAT = np.dtype("<f4")


class ResumableRows:
    """Appends rows to an array on disk and knows, when opened again, what is whole.

    Beside the array lies a journal with a line for each block: where it ends and its
    CRC-32. What the journal and the array agree on is kept; what comes after, such as
    half a block, is cut off.

    Args:
        array: Path of the `.npy` file: float32 of shape `(*leading, dim)`.
        journal: What `held` gives: two writers would cut off each other's rows.
        leading: Tuple: all but the last axis of the shape.

    Attributes:
        finished: Rows that are whole, of the `prod(leading)` there will be.
        dim: Width of a row; None before the first block.

    Raises:
        OSError: If a file cannot be written.
    """

    def __init__(self, array, journal, leading):
        self._leading = tuple(leading)
        self._path = pathlib.Path(array)
        self._journal = journal
        # Without a buffer: what a full disk refused would be tried again on closing.
        self._array = open(array, "a+b", buffering=0)
        self.finished, self.dim = 0, None
        self._keep_what_is_whole()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._array.close()

    def append(self, block):
        """Writes rows `(n, dim)` behind those that are there."""
        block = np.ascontiguousarray(block, _FLOAT)
        if self.dim is None:
            self.dim = block.shape[1]
            header = {"descr": _FLOAT.str, "fortran_order": False}
            header["shape"] = (*self._leading, self.dim)
            np.lib.format.write_array_header_1_0(self._array, header)
            self._begin = self._array.tell()
        data = block.tobytes()
        _write(self._array, data)
        self.finished += len(block)
        _write(self._journal, b"%d %08x\n" % (self.finished, zlib.crc32(data)))

    def to_disk(self):
        """Forces what was written out of the system's cache."""
        os.fsync(self._array.fileno())

    def read(self, rows):
        """float32 `(len(rows), dim)` of rows that are whole."""
        shape = (self.finished, self.dim)
        return np.memmap(self._path, _FLOAT, "r", self._begin, shape)[rows]

    def _keep_what_is_whole(self):
        self._journal.seek(0)
        lines = self._journal.read().splitlines(keepends=True)
        self._begin = self._read_header()
        kept = 0
        for line in lines if self.dim else []:
            try:
                stop, crc = line.split()
                rows, crc = int(stop) - self.finished, int(crc, 16)
            except ValueError:
                break
            size = max(0, rows) * self.dim * _FLOAT.itemsize
            data = self._array.read(size)
            if not line.endswith(b"\n") or not 0 < len(data) == size:
                break
            if zlib.crc32(data) != crc:
                break
            self.finished += rows
            kept += len(line)
        if not self.finished:
            self.dim, self._begin = None, 0
        self._journal.truncate(kept)
        row = (self.dim or 0) * _FLOAT.itemsize
        self._array.truncate(self._begin + self.finished * row)

    def _read_header(self):
        """Sets `dim` and returns where the rows begin."""
        self._array.seek(0)
        try:
            np.lib.format.read_magic(self._array)
            shape, *_ = np.lib.format.read_array_header_1_0(self._array)
        except ValueError:  # empty, or cut off within the header
            return 0
        if shape[:-1] == self._leading:
            self.dim = shape[-1]
        return self._array.tell()


def _write(stream, data):
    left = memoryview(data)
    while left:
        left = left[stream.write(left) :]


@contextlib.contextmanager
def held(path):
    """Opens a file, made if need be, that no other process can hold meanwhile.

    The system gives it back when the process ends, however it ends.

    Args:
        path: Path of the file.

    Yields:
        An unbuffered stream to read and to append.

    Raises:
        BlockingIOError: If another process holds it.
        OSError: If it cannot be written.
    """
    with open(path, "a+b", buffering=0) as stream:
        _lock(stream)
        yield stream


def _lock(stream):
    if os.name == "nt":
        import msvcrt

        stream.seek(2**30)  # Locked bytes cannot be read: one beyond the end.
        try:
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
    else:
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
