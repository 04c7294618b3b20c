"""A backbone, pooling, one linear layer, unit length: an image embedder."""

import keras
from keras import layers

from keras_distill.layers import L2Normalization
from keras_distill.models.backbones import backbone as find_backbone


def embedder(backbone, image_shape, dim, weights=None, name=None):
    """Builds a `keras.Model` from images to unit vectors.

    The model carries its preprocessing: it takes pixel values in [0, 255], uint8 or
    float. Three of its layers have names that the rest of the library reads:

    * `features`: the last map of the trunk, `(batch, h, w, channels)`;
    * `pooled`: its average over the cells, `(batch, channels)`;
    * `embedding`: the output, `(batch, dim)` rows of length one, float32.

    Batch normalisation trains as always. The figures published for ImageNet weights
    (Roth et al., ICML 2020, and what builds on it) were made with its averages kept as
    they were, and scale and offset trained alone: `models.frozen_statistics` does that.

    Args:
        backbone: `"conv4"`; `"conv4_16"`, the same with 16 channels instead of 64, or
            with any other number; `"separable"`; or the name of any function of
            `keras.applications`, such as `"MobileNetV3Small"`.
        image_shape: `(height, width, channels)`, positive integers.
        dim: Positive integer, the width of the embedding.
        weights: `None` for fresh weights or, for `keras.applications`,
            `"imagenet"` or a path. Defaults to `None`.
        name: Name of the model. Defaults to `"{backbone}_{dim}"`.

    Returns:
        An uncompiled functional `keras.Model`.

    Raises:
        ValueError: If the backbone is unknown (the known ones are listed), if a
            size is not a positive integer, or if `weights` are asked for a backbone
            that has none.

    Example:

    ```python
    student = keras_distill.models.embedder("conv4", (32, 32, 1), dim=32)
    student(images).shape  # (batch, 32)
    ```
    """
    if not is_count(dim):
        raise ValueError(f"`dim` must be a positive integer. Received: dim={dim}")
    images, x = pooled_trunk(backbone, image_shape, weights)
    x = layers.Dense(dim, name="projection")(x)
    x = L2Normalization(name="embedding")(x)
    return keras.Model(images, x, name=name or f"{backbone}_{dim}")


def pooled_trunk(backbone, image_shape, weights=None):
    """A model's beginning: its input, and the layer `pooled` behind `features`.

    Args:
        backbone, image_shape, weights: See `embedder`.

    Returns:
        `(images, pooled)`, symbolic tensors.

    Raises:
        ValueError: As `embedder`.
    """
    image_shape = tuple(image_shape)
    if len(image_shape) != 3 or not all(is_count(n) for n in image_shape):
        raise ValueError(
            "`image_shape` must be (height, width, channels), positive integers. "
            f"Received: image_shape={image_shape}"
        )
    trunk = find_backbone(backbone)
    images = keras.Input(image_shape, name="image")
    x = layers.Identity(name="features")(trunk(images, weights=weights))
    return images, layers.GlobalAveragePooling2D(name="pooled")(x)


def is_count(value):
    """Whether `value` is a positive integer."""
    return isinstance(value, int) and value > 0
