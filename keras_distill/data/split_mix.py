"""Hashes of integers: random numbers that need no generator and no order."""

import numpy as np


def split_mix(*parts):
    """uint64 hash of integers or arrays of them, broadcast; SplitMix64 steps.

    Steele, Lea and Flood, OOPSLA 2014 (https://doi.org/10.1145/2660193.2660195); the
    parts are mixed in one after another, so that their order matters.
    """
    state = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in parts:
            state = state + np.asarray(part).astype(np.uint64)
            state = (state + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(2**64 - 1)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state
