"""Keeps the chatter of compiled code off the terminal, and nothing else."""

import contextlib
import os
import re
import sys
import tempfile

# Lines of the levels information and warning, as absl, TensorFlow and TensorFlow
# Lite write them from C++, and progress bars that cannot be switched off. Errors
# and crashes look otherwise (E0000, F0000, ERROR:) and pass.
_CHATTER = re.compile(
    rb"[IW]\d{4} [\d:.]+ |\d{4}-\d\d-\d\d [\d:.]+: [IW] "
    rb"|WARNING: All log messages before absl"
    rb"|INFO: |\r?Applying Transformations to tensors"
)


@contextlib.contextmanager
def without_chatter():
    """Inside the block, drops what C++ code logs below the level of an error.

    It catches the standard error of the process, so that what C++ writes there is
    seen too, and afterwards writes out again every line that is no information or
    warning of C++. When the block raises, nothing is dropped: all of it goes with
    the exception, as a note.
    """
    sys.stderr.flush()
    real = os.dup(2)
    try:
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            except BaseException as error:
                said = _all_of(caught).decode(errors="replace").strip()
                if said:
                    error.add_note(f"Standard error before that:\n{said}")
                raise
            else:
                lines = _all_of(caught).splitlines(keepends=True)
                kept = b"".join(line for line in lines if not _CHATTER.match(line))
                if kept:
                    os.write(real, kept)
            finally:
                os.dup2(real, 2)
    finally:
        os.close(real)


def _all_of(file):
    sys.stderr.flush()
    file.seek(0)
    return file.read()
