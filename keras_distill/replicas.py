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
    return tf.nest.map_structure(_gather, rows)


def _gather(own):
    if own is None:
        return None
    # One at a time: the gradient of a joint gather wants all on the same devices,
    # and labels, which have none, are elsewhere than embeddings.
    own = tf.convert_to_tensor(own)
    everyone = tf.distribute.get_replica_context().all_gather(own, axis=0)
    # Replicas may hold unequal shares of a last batch; the other axes are known.
    everyone.set_shape([None, *own.shape[1:]])
    return everyone
