"""Labels that a loss cannot learn from, refused where they come in."""

import keras
import numpy as np
import tensorflow as tf

from keras_distill import losses
from keras_distill.losses import TrainableLoss


def checked(labels, loss):
    """`labels`, behind a check of their range that runs in the graph.

    A loss with a weight for each class is NaN for other labels. Here the step stops
    before its update. (XLA leaves assertions out: there the NaN remains.)

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


def refuse_one_class(labels, loss):
    """Raises ValueError if arrays to train on hold one class only.

    Args:
        labels: What `fit` was given as targets; anything but an array passes.
        loss: What was given to `compile`.
    """
    if isinstance(labels, dict):
        labels = labels.get("label")
    if not isinstance(labels, np.ndarray | list) or not isinstance(loss, _OURS):
        return
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            "Images of one class alone teach no embedding: nothing has to be told "
            f"apart. Received: labels={classes.tolist()}"
        )


def _asserted(labels, criterion):
    last = criterion.num_classes - 1
    valid = tf.reduce_all((labels >= 0) & (labels <= last))
    said = f"Labels must lie in 0..{last}, for {criterion.name!r} has as many classes."
    check = tf.debugging.Assert(valid, [said, "Received: labels =", labels])
    # Tied to what the update needs: else it might be made before the check.
    with tf.control_dependencies([check]):
        return tf.identity(labels)


_OURS = tuple(
    thing
    for thing in (getattr(losses, name) for name in losses.__all__)
    if isinstance(thing, type) and issubclass(thing, keras.losses.Loss)
)
