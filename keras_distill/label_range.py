"""Labels that a loss cannot learn from, refused where they come in."""

import keras
import numpy as np
import tensorflow as tf

from keras_distill import losses
from keras_distill.losses import TrainableLoss


def checked(labels, loss):
    """`labels`, behind a check of their range that runs in the graph.

    A loss with a weight for each class is NaN for other labels. Here the step stops
    before its update. (XLA leaves assertions out: there the NaN remains. Arrays are
    looked through before the first step, by `refuse`.)

    Args:
        labels: What the losses take.
        loss: What was given to `compile`.

    Returns:
        The same structure. The step that uses it raises
        `tf.errors.InvalidArgumentError` if a label is out of range.
    """
    criteria = keras.tree.flatten(loss)
    parts = keras.tree.flatten(labels)
    if not tf.inside_function() or len(parts) != len(criteria):
        return labels
    parts = [
        _asserted(part, criterion) if isinstance(criterion, TrainableLoss) else part
        for part, criterion in zip(parts, criteria, strict=True)
    ]
    return keras.tree.pack_sequence_as(labels, parts)


def refuse(labels, loss):
    """Raises ValueError if arrays to train on hold what no loss here learns from.

    Before the first step, on every device and under XLA. Of a data set nothing is known
    before its batches come: a batch of one class has loss 0, see `losses`, and labels
    out of range are `checked` in the step.

    Args:
        labels: What `fit` was given as targets: an array, a tensor, a list, or a
            dictionary that holds one under `"label"`; anything else passes.
        loss: What was given to `compile`; anything but one loss of this library
            passes.
    """
    if isinstance(labels, dict):
        labels = labels.get("label")
    is_array = isinstance(labels, np.ndarray | list) or keras.ops.is_tensor(labels)
    if not is_array or not isinstance(loss, _OURS):
        return
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            "Images of one class alone teach no embedding: nothing has to be told "
            f"apart. Received: labels={classes.tolist()}"
        )
    if isinstance(loss, TrainableLoss):
        wrong = classes[(classes < 0) | (classes >= loss.num_classes)]
        if len(wrong):
            raise ValueError(f"{_wanted(loss)} Received: labels={wrong[:5].tolist()}")


def _wanted(criterion):
    last = criterion.num_classes - 1
    return f"Labels must lie in 0..{last}, for {criterion.name!r} has as many classes."


def _asserted(labels, criterion):
    last = criterion.num_classes - 1
    valid = tf.reduce_all((labels >= 0) & (labels <= last))
    said = [_wanted(criterion), "Received: labels =", labels]
    check = tf.debugging.Assert(valid, said)
    # Tied to what the update needs: else it might be made before the check.
    with tf.control_dependencies([check]):
        return tf.identity(labels)


_OURS = tuple(
    thing
    for thing in (getattr(losses, name) for name in losses.__all__)
    if isinstance(thing, type) and issubclass(thing, keras.losses.Loss)
)
