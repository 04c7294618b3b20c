"""The global batch: rows of every replica of a `tf.distribute` strategy."""

import tensorflow as tf


def count():
    """How many replicas the step runs on; 1 without a strategy."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def gather(rows):
    """Concatenates the rows of all replicas, on every replica.

    The gradient of a gathered row reaches the replica it came from, summed over the
    replicas. A loss of the gathered rows that is divided by `count()` therefore
    gives, after the optimizer has summed the replicas' gradients, the gradient that
    one replica with all rows would have.

    Args:
        rows: Nested structure of tensors with the local batch as first axis; `None`
            entries stay `None`.

    Returns:
        The same structure. With one replica, `rows` itself.
    """
    if count() == 1:
        return rows
    context = tf.distribute.get_replica_context()
    flat = tf.nest.flatten(rows)
    here = [tf.convert_to_tensor(x) for x in flat if x is not None]
    everywhere = iter(context.all_gather(here, axis=0) if here else [])
    gathered = [None if x is None else next(everywhere) for x in flat]
    return tf.nest.pack_sequence_as(rows, gathered)
