"""The global batch: rows of every replica of a `tf.distribute` strategy."""

import keras
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


def refuse_sums(strategy, loss):
    """Raises ValueError if a loss is no mean over the batch, where replicas share it.

    Args:
        strategy: The `tf.distribute.Strategy` of the model.
        loss: What was given to `compile`.
    """
    for criterion in keras.tree.flatten(loss):
        reduction = getattr(criterion, "reduction", None)
        if strategy.num_replicas_in_sync > 1 and reduction in ("sum", "none"):
            raise ValueError(
                "Losses are computed on the gathered batch of all replicas, and "
                "have to be means over it: use the default reduction. "
                f"Received: loss={criterion.name!r} with reduction={reduction!r}"
            )


def refuse_scalars(loss, labels, outputs):
    """Raises ValueError on several replicas if Keras would count a loss once for each.

    It divides means over rows by the number of replicas, but not a loss that comes as
    one number, which it cannot tell from a part of one.

    Args:
        loss: What was given to `compile`.
        labels: What it takes.
        outputs: The student's.
    """
    if count() == 1 or loss is None:
        return
    losses = keras.tree.flatten(loss)
    pairs = zip(keras.tree.flatten(labels), keras.tree.flatten(outputs), strict=False)
    for one, (label, output) in zip(losses, pairs, strict=False):
        compute = getattr(one, "call", one)
        if callable(compute) and not compute(label, output).shape.rank:
            raise ValueError(
                "On several replicas a loss must return one value a row, "
                "(batch,), not a scalar. "
                f"Received: loss={getattr(one, 'name', one)!r}"
            )
