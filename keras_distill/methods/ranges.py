"""Refusals of numbers out of range, said the same way by every method."""

import math


def not_negative(**arguments):
    """Raises ValueError unless every argument is finite and >= 0."""
    for name, value in arguments.items():
        if not 0 <= value < math.inf:
            raise ValueError(
                f"`{name}` must be finite and not negative. Received: {name}={value}"
            )


def positive(**arguments):
    """Raises ValueError unless every argument is finite and > 0."""
    for name, value in arguments.items():
        if not 0 < value < math.inf:
            raise ValueError(
                f"`{name}` must be positive and finite. Received: {name}={value}"
            )


def count(least, **arguments):
    """Raises ValueError unless every argument is an integer of at least `least`."""
    for name, value in arguments.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(
                f"`{name}` must be an integer, {least} or more. "
                f"Received: {name}={value}"
            )
