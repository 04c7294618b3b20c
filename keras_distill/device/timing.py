"""How long a call takes."""

import time

import numpy as np


def median_milliseconds(call, repeats):
    """Median wall time of a call, in milliseconds.

    Args:
        call: Function of no arguments. Its first call, which allocates, is not timed.
        repeats: Positive integer, how often it is timed.
    """
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
