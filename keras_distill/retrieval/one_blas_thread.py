"""Threads of our own instead of those of the BLAS."""

import contextlib
import threading

import threadpoolctl

_lock = threading.Lock()
_inside = 0
_limits = None


@contextlib.contextmanager
def one_blas_thread():
    """Products of matrices run in the thread that asks for them.

    Several threads that multiply at once wait for each other inside OpenBLAS: two
    on two cores took three times the processor time that they take so. The limit
    is the whole process's, and lifted when the last of those who asked for it has
    left.
    """
    global _inside, _limits
    with _lock:
        if not _inside:
            _limits = threadpoolctl.threadpool_limits(1, user_api="blas")
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _limits.restore_original_limits()
