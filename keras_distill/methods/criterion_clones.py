"""Losses of the same settings, each with weights and draws of its own."""

import inspect

import keras

from keras_distill import ranges

# In which a loss is a mean over the batch.
_MEANS = ("sum_over_batch_size", "mean")


def clones(criterion, count):
    """New losses like `criterion`.

    Where it has a `seed`, the k-th clone, from 0, has that of `criterion` plus k + 1:
    with one seed all would draw the same.

    Args:
        criterion: A `keras.losses.Loss`.
        count: Integer.

    Returns:
        List of `count` losses.

    Raises:
        ValueError: If the configuration of `criterion` does not say how it is made.
    """
    kind = type(criterion)
    try:
        config = criterion.get_config()
        forgotten = _forgotten(kind, config)
        if forgotten:
            raise ValueError(f"its get_config() leaves out {', '.join(forgotten)}")
        return [kind.from_config(_reseeded(config, k + 1)) for k in range(count)]
    except Exception as error:
        raise ValueError(
            "The loss must be one that its configuration can make anew: give "
            f"{kind.__name__} a get_config() that returns all arguments of its "
            f"__init__. Received: loss={getattr(criterion, 'name', criterion)!r} of "
            f"type {kind.__name__} ({error})"
        ) from error


def settings(criterion):
    """What two losses have in common whose clones would be alike. Not the name.

    Keras numbers the names of losses that have none of their own.
    """
    saved = keras.losses.serialize(criterion)
    config = {k: v for k, v in saved["config"].items() if k != "name"}
    return {**saved, "config": config}


def refuse_sums(criterion):
    """Raises ValueError if a loss says that it is no mean over the batch."""
    reduction = getattr(criterion, "reduction", _MEANS[0])
    if reduction not in _MEANS:
        raise ValueError(
            "The loss must be a mean over the batch, as the other terms are: use "
            f"reduction='sum_over_batch_size'. Received: loss={criterion.name!r} with "
            f"reduction={reduction!r}"
        )


def _forgotten(kind, config):
    """Arguments of a class that takes its own and leaves `get_config` as it was."""
    for owner in kind.__mro__:
        if "get_config" in vars(owner):
            return []
        if "__init__" in vars(owner):
            arguments = list(inspect.signature(owner.__init__).parameters.values())[1:]
            named = [
                a.name
                for a in arguments
                if a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD)
            ]
            # Keras's own configurations leave out the dtype.
            return [name for name in named if name not in config and name != "dtype"]
    return []


def _reseeded(config, number):
    seed = config.get("seed")
    if ranges.is_integer(seed):
        return {**config, "seed": seed + number}
    return dict(config)
