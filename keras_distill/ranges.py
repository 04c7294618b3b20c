"""Refusals of numbers out of range, said the same way by every method."""

import math
import numbers


def not_negative(**arguments):
    """Raises ValueError unless every argument is a number, finite and >= 0."""
    for name, value in arguments.items():
        _number(name, value)
        if not 0 <= value < math.inf:
            raise ValueError(
                f"`{name}` must be finite and not negative. Received: {name}={value}"
            )


def positive(**arguments):
    """Raises ValueError unless every argument is a number, finite and > 0.

    For temperatures and what else divides similarities or logits.
    """
    for name, value in arguments.items():
        _number(name, value)
        if not 0 < value < math.inf:
            raise ValueError(
                f"`{name}` must be positive and finite: similarities are divided by "
                f"it. Received: {name}={value}"
            )


def count(least, **arguments):
    """Raises ValueError unless every argument is an integer of at least `least`."""
    for name, value in arguments.items():
        if not is_integer(value) or value < least:
            raise ValueError(
                f"`{name}` must be an integer, {least} or more. "
                f"Received: {name}={value!r}"
            )


def is_integer(value):
    """Whether `value` is an integer, Python's or numpy's, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _number(name, value):
    if not isinstance(value, numbers.Real):
        raise ValueError(
            f"`{name}` must be a number. Received: {name}={value!r} of type "
            f"{type(value).__name__}"
        )
