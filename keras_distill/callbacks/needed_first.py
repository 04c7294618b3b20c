"""Callbacks that a model's `fit` cannot do without, put before those it was given."""

import keras


def as_list(callbacks):
    """What `fit` was given, a callback, several of them or none, as a list."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks.callbacks
    return [] if callbacks is None else keras.tree.flatten(callbacks)


def missing(needed, given):
    """Those of `needed` that have no stand-in among `given`.

    A stand-in is a callback of the same class, and for the same method if it has one.
    """

    def has_stand_in(callback):
        method = getattr(callback, "method", None)
        return any(
            type(other) is type(callback) and getattr(other, "method", None) is method
            for other in given
        )

    return [callback for callback in needed if not has_stand_in(callback)]


def put_first(needed, callbacks, model):
    """What `keras.Model.fit` is to be given instead of `callbacks`.

    Needed ones go first, so that a callback that saves finds their work done.

    Args:
        needed: List of callbacks; may be empty.
        callbacks: What `fit` was given. A `keras.callbacks.CallbackList` is changed
            and returned.
        model: The model that they shall know.

    Returns:
        A list, a `CallbackList`, or `None` for no callbacks.
    """
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        return [*needed, *as_list(callbacks)] or None
    for callback in needed:
        callback.set_params(callbacks.params)
        callback.set_model(model)
    callbacks.callbacks[:0] = needed
    return callbacks
