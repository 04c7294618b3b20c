"""Variables that a step or a callback keeps: saved, and not trained."""


def add_state(layer, name, shape=(), dtype="float32", initializer="zeros"):
    """Adds one to a layer.

    Replicas, which all make the same change, keep that of the first.

    Args:
        layer: A `keras.layers.Layer`.
        name: String.
        shape: Tuple.
        dtype: String.
        initializer: See `keras.layers.Layer.add_weight`.

    Returns:
        `keras.Variable`.
    """
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        trainable=False,
        aggregation="only_first_replica",
    )
