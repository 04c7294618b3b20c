"""A backbone, pooling, one linear layer: an image classifier."""

import keras
from keras import layers

from keras_distill.models.embedder import is_count, pooled_trunk


def classifier(backbone, image_shape, num_classes, weights=None, name=None):
    """Builds a `keras.Model` from images to logits, for a closed set of classes.

    As `models.embedder`, with its layers `features` and `pooled`, the penultimate
    features; the output, `logits`, is `(batch, num_classes)` float32 without a softmax:
    train it with `SparseCategoricalCrossentropy(from_logits=True)`.

    Args:
        backbone: See `models.embedder`.
        image_shape: `(height, width, channels)`, positive integers.
        num_classes: Integer, at least 2.
        weights: See `models.embedder`.
        name: Name of the model. Defaults to `"{backbone}_classifier"`.

    Returns:
        An uncompiled functional `keras.Model`.

    Raises:
        ValueError: As `models.embedder`; if there are fewer than two classes.
    """
    if not is_count(num_classes) or num_classes < 2:
        raise ValueError(
            "`num_classes` must be an integer, 2 or more. "
            f"Received: num_classes={num_classes}"
        )
    images, x = pooled_trunk(backbone, image_shape, weights)
    # A half-precision softmax over many classes would lose the small ones.
    x = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(images, x, name=name or f"{backbone}_classifier")
