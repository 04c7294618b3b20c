"""What a user gives as `methods`, as a list of methods."""

import keras

from keras_distill.methods.keras_distillation import KerasDistillation
from keras_distill.methods.method import Method


def method_list(methods):
    """A list of `Method`, of one or several of what a `Distiller` takes.

    Args:
        methods: A `Method`, a `keras.distillation.DistillationLoss`, or a list of
            these.

    Raises:
        TypeError: If one is neither.
        ValueError: If two have one name.
    """
    one = isinstance(methods, Method | keras.distillation.DistillationLoss)
    found = [_as_method(method) for method in ([methods] if one else methods)]
    names = [method.name for method in found]
    if len(set(names)) < len(names):
        raise ValueError(
            "Methods must differ in name, for the logs: give each a `name`. "
            f"Received: names={names}"
        )
    return found


def _as_method(method):
    if isinstance(method, Method):
        return method
    if isinstance(method, keras.distillation.DistillationLoss):
        return KerasDistillation(method)
    raise TypeError(
        "Expected a keras_distill.methods.Method or a "
        "keras.distillation.DistillationLoss. "
        f"Received: method={method!r} of type {type(method).__name__}"
    )
