"""A network far smaller than an embedder: one score for an image."""

import keras
from keras import layers, ops

from keras_distill.models.embedder import is_count


def scorer(image_shape, width=8, name=None):
    """Builds a `keras.Model` from images to scores, for `keras_distill.DDL` to fit.

    It takes pixel values in [0, 255], uint8 or float, and carries its preprocessing.
    Depthwise-separable, strided convolutions with ReLU6, which quantise well, and the
    average over what is left of the image. With the default width, 48 pixels and
    three channels it multiplies and adds 0.3 million times, 1 % of a `conv4`.

    What makes an image hard to recognise is seen in two things. Half of the first
    channels see the image: what it shows, whether it is dark or covered. The other
    half see its local contrast, how far each pixel is from the mean of the 3x3 around
    it: blur takes that away, noise adds to it. An average over the image of a
    linear filter is blunt to both, since what it gains at one side of an edge
    it loses at the other; the absolute value comes before any averaging, and at full
    resolution. Each half is normalised by itself, for contrast has the smaller
    numbers by far and would else be learned last.

    The published method says of this network only that it is light.

    Args:
        image_shape: `(height, width, channels)`, positive integers.
        width: Integer >= 2, channels of the first convolutions, 1/8 of those of the
            last. Work grows with its square, nearly. Defaults to `8`.
        name: Name of the model. Defaults to `"scorer"`.

    Returns:
        An uncompiled functional `keras.Model`: `(batch, height, width, channels)` to
        float32 `(batch, 1)` in (0, 1), the output of the layer `score`. Before it,
        the layer `logit`.

    Raises:
        ValueError: If a size is not a positive integer, or `width` is below 2.

    Example:

    ```python
    scorer = keras_distill.models.scorer((32, 32, 1))
    scorer(images).shape  # (batch, 1)
    ```
    """
    image_shape = tuple(image_shape)
    if len(image_shape) != 3 or not all(is_count(n) for n in image_shape):
        raise ValueError(
            "`image_shape` must be (height, width, channels), positive integers. "
            f"Received: image_shape={image_shape}"
        )
    if not is_count(width) or width < 2:
        raise ValueError(f"`width` must be an integer >= 2. Received: width={width}")
    images = keras.Input(image_shape, name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
    mean = layers.AveragePooling2D(3, 1, "same", name="local_mean")(x)
    contrast = ops.abs(layers.Subtract(name="local_difference")([x, mean]))
    x = layers.Concatenate(name="stem")(
        [
            _convolution(width - width // 2, "stem_image", x),
            _convolution(width // 2, "stem_contrast", contrast),
        ]
    )
    for i, (factor, stride) in enumerate([(2, 2), (2, 1), (4, 2), (8, 2), (8, 1)]):
        depthwise = layers.DepthwiseConv2D(
            3, stride, "same", use_bias=False, name=f"depthwise{i + 1}"
        )
        pointwise = layers.Conv2D(
            factor * width, 1, use_bias=False, name=f"pointwise{i + 1}"
        )
        x = _normalized(pointwise, _normalized(depthwise, x))
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    # Half precision has steps of 5e-4 in scores whose differences are stretched.
    x = layers.Dense(1, dtype="float32", name="logit")(x)
    x = layers.Activation("sigmoid", dtype="float32", name="score")(x)
    return keras.Model(images, x, name=name or "scorer")


def _convolution(channels, name, x):
    convolution = layers.Conv2D(channels, 3, 2, "same", use_bias=False, name=name)
    return _normalized(convolution, x)


def _normalized(layer, x):
    # Few steps are made: with Keras's momentum of 0.99 the averages would lag behind.
    x = layers.BatchNormalization(momentum=0.9, name=f"{layer.name}_bn")(layer(x))
    return layers.ReLU(6.0, name=f"{layer.name}_relu6")(x)
