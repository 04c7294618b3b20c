"""Files and folders that are either whole under their name or not there at all.

Everything is first written under a temporary name beside its final one (a rename
is atomic only within a file system), forced to disk and then renamed. A full disk,
an error or Ctrl-C leaves what was there before, and no temporary file.
"""

import contextlib
import ctypes
import errno
import os
import pathlib
import secrets
import shutil
import sys


def write_bytes(path, data: bytes):
    """Writes `data` to `path`, replacing what is there; see `file`."""
    with file(path) as temporary, open(temporary, "wb") as stream:
        stream.write(data)


def write_text(path, text: str):
    """Writes `text` to `path` as UTF-8 with `\\n` line ends; see `file`."""
    write_bytes(path, text.encode("utf-8"))


@contextlib.contextmanager
def file(path):
    """A temporary path to write to, renamed to `path` when the block succeeds.

    Args:
        path: Where the file shall be. Missing parent folders are made.

    Yields:
        A `pathlib.Path` in the same folder with the same suffix (`model.save`
        looks at it). The block must create that file.

    Raises:
        OSError: If the file cannot be written; `path` is then as it was before.

    Example:
        with atomic.file("runs/a/student.keras") as temporary:
            student.save(temporary)
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _to_disk(path.parent)


@contextlib.contextmanager
def folder(path, overwrite: bool = False):
    """A temporary folder to fill, renamed to `path` when the block succeeds.

    Args:
        path: Where the folder shall be. Missing parent folders are made.
        overwrite: Whether a folder that is there already is replaced. It stays
            untouched until the new one is complete. The two change places in one step
            of the file system, so that a crash at any moment leaves one of them under
            `path`; where the system has no such step (Windows, some network file
            systems) there is a moment, between two renames, without.

    Yields:
        The `pathlib.Path` of an empty folder beside `path`.

    Raises:
        FileExistsError: If `path` exists and `overwrite` is false, before the
            block runs; or if it is a file.
        OSError: If something cannot be written; `path` is then as it was before.
    """
    path = pathlib.Path(path)
    if path.exists() and not (overwrite and path.is_dir()):
        raise FileExistsError(
            "The folder to write must not exist, unless it is a folder and "
            f"`overwrite` is true. Received: path={path}, overwrite={overwrite}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, old = _beside(path), _beside(path)
    try:
        temporary.mkdir()
        yield temporary
        for inner in [*temporary.rglob("*"), temporary]:
            _to_disk(inner)
        if path.exists() and exchange(temporary, path):
            old = temporary
        else:
            if path.exists():
                os.replace(path, old)
            try:
                os.replace(temporary, path)
            except BaseException:
                if old.exists():
                    os.replace(old, path)
                raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _to_disk(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def exchange(one, other):
    """Lets two paths of one file system change places, in one step.

    Args:
        one, other: Paths that exist.

    Returns:
        Whether it was done: false where the system cannot, and nothing is changed.

    Raises:
        OSError: If it can and does not: a missing path, a lack of rights.
    """
    call = _exchange_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    code = ctypes.get_errno()
    # Kernels and file systems that do not know it say one of these.
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _exchange_call():
    """A function of two paths that exchanges them, or `None`."""
    if not sys.platform.startswith(("linux", "darwin")):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        renamex = getattr(library, "renamex_np", None)
        return renamex and (lambda one, other: renamex(one, other, _RENAME_SWAP))
    rename = getattr(library, "renameat2", None)  # glibc 2.28, musl 1.2.5
    return rename and (
        lambda one, other: rename(_AT_CWD, one, _AT_CWD, other, _RENAME_EXCHANGE)
    )


# From the headers of Linux (fcntl.h, stdio.h) and of macOS (sys/stdio.h).
_AT_CWD, _RENAME_EXCHANGE, _RENAME_SWAP = -100, 2, 2


def _beside(path):
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")


def _to_disk(path):
    """Forces a file, or the entries of a folder, out of the system's cache."""
    if os.name == "nt":  # Folders cannot be opened there, nor files read-only.
        if path.is_dir():
            return
        descriptor = os.open(path, os.O_RDWR)
    else:
        descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
