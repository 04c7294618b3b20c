"""Some of many, evenly spread and the same every time."""

import numpy as np


def spread(count, most):
    """At most `most` of the numbers below `count`, evenly spread.

    Returns:
        Ascending integers `(min(count, most),)`.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
