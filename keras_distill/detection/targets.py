"""What a detector can learn from what a data set says of an image."""

import numpy as np
import tensorflow as tf
from keras import ops

from keras_distill.detection.boxes import clip


def checked_targets(targets, image_shape, num_classes):
    """Targets within their images, of classes that there are.

    Boxes are cut off at the edges. What lies outside, or has no area, becomes padding,
    as what the mask leaves out is: there is nothing to see of it. (Of the sets of
    `data.load_boxes` all boxes are within; those left out have been counted there.)

    Args:
        targets: Dictionary of `"boxes"` `(B, M, 4)`, `"labels"` integers `(B, M)` and
            `"mask"` booleans `(B, M)`.
        image_shape: `(height, width, ...)`.
        num_classes: Positive integer.

    Returns:
        Such a dictionary: where the mask is False boxes are zeros and labels -1.

    Raises:
        ValueError: If a box has another label than 0 to `num_classes - 1`, which would
            be learned as background. In a graph it is the step that stops, with
            `tf.errors.InvalidArgumentError`.
    """
    boxes = clip(targets["boxes"], *image_shape[:2])
    area = ops.all(boxes[..., 2:] > boxes[..., :2], axis=-1)
    mask = ops.logical_and(ops.cast(targets["mask"], "bool"), area)
    labels = ops.where(mask, ops.cast(targets["labels"], "int32"), -1)
    return {
        "boxes": ops.where(mask[..., None], boxes, 0.0),
        "labels": _known(labels, mask, num_classes),
        "mask": mask,
    }


def _known(labels, mask, num_classes):
    """`labels`, behind a check of those in the mask."""
    strange = ops.logical_and(mask, (labels < 0) | (labels >= num_classes))
    said = (
        f"Labels of boxes must lie in 0..{num_classes - 1}: so many classes there are."
    )
    if tf.inside_function():
        check = tf.debugging.Assert(
            ~tf.reduce_any(strange), [said, "Received: labels =", labels]
        )
        # Tied to what the update needs: else it might be made before the check.
        with tf.control_dependencies([check]):
            return tf.identity(labels)
    if np.any(strange):
        wrong = np.unique(np.asarray(labels)[np.asarray(strange)])
        raise ValueError(f"{said} Received: labels={wrong[:5].tolist()}")
    return labels
