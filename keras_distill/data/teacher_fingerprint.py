"""What makes a model the model it is: its architecture and its weights."""

import hashlib
import json

import numpy as np

from keras_distill.data.cache_folder import plain

# What inference does not depend on: freezing a model must not make it another one,
# and Keras draws a seed for layers that were given none.
_IDLE = frozenset(["trainable", "seed", "compile_config", "build_config"])

# Where a configuration speaks of layers by their names. Elsewhere the same word is an
# option: Keras calls the first layer `Softmax()` of a session "softmax" as well.
_OF_LAYERS = frozenset(["name", "keras_history", "input_layers", "output_layers"])


def teacher_fingerprint(model):
    """Hashes of a model's architecture and of its weights.

    Names do not count, for Keras numbers them: the same code run twice in a notebook
    gives `dense` and `dense_1`.

    Args:
        model: A built `keras.Model`.

    Returns:
        `{"architecture": ..., "weights": ...}`, hexadecimal BLAKE2 digests. Of a
        subclassed model that has no configuration the architecture is its class.

    Raises:
        ValueError: If the model is not built.
    """
    if not model.built:
        raise ValueError(
            "The teacher must be built: call it once on a batch of images. "
            f"Received: teacher={model.name!r}, which has no weights yet"
        )
    weights = hashlib.blake2b(digest_size=16)
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy())
        weights.update(f"{values.dtype} {values.shape}".encode())
        weights.update(values.tobytes())
    return {"architecture": _architecture(model), "weights": weights.hexdigest()}


def _architecture(model):
    try:
        config = model.get_config()
    except NotImplementedError:  # Keras's word for "a subclass does not say"
        config = {}
    numbers = {}
    _number_names(config, numbers)
    kept = plain([type(model).__name__, _without_names(config, numbers)])
    text = json.dumps(kept, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _number_names(config, numbers):
    """Numbers the names of layers in the order in which they come."""
    if isinstance(config, dict):
        if isinstance(config.get("name"), str):
            numbers.setdefault(config["name"], f"#{len(numbers)}")
        for key, value in config.items():
            if key != "dtype":  # A policy has a name that is not a layer's.
                _number_names(value, numbers)
    elif isinstance(config, list | tuple):
        for value in config:
            _number_names(value, numbers)


def _without_names(config, numbers, of_layers=False):
    """The configuration with numbers where it speaks of layers."""
    if isinstance(config, dict):
        return {
            key: value
            if key == "dtype"
            else _without_names(value, numbers, of_layers or key in _OF_LAYERS)
            for key, value in config.items()
            if key not in _IDLE
        }
    if isinstance(config, list | tuple):
        return [_without_names(value, numbers, of_layers) for value in config]
    if of_layers and isinstance(config, str):
        return numbers.get(config, config)
    return config
