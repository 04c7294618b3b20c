"""A small residual trunk with a feature pyramid."""

import keras
from keras import layers

from keras_distill.models.embedder import is_count

DEEPEST = 5  # The trunk ends at stride 2**5.


def pyramid(
    image_shape,
    widths=(32, 64, 96, 128),
    blocks=1,
    width=64,
    levels=(3, 6),
    name="pyramid",
):
    """Builds a `keras.Model` from images to maps of several strides.

    A residual net (He et al., CVPR 2016, https://arxiv.org/abs/1512.03385) whose four
    stages have strides 4, 8, 16 and 32, and a pyramid on it (Lin et al., CVPR 2017,
    https://arxiv.org/abs/1612.03144): each map is a 1x1 convolution of its stage plus
    the next coarser map enlarged, through a 3x3 convolution. Levels beyond the trunk
    are convolutions of stride 2, as RetinaNet has them.

    Args:
        image_shape: `(height, width, channels)`; height and width are multiples of 32,
            for a map that is halved and doubled again must fit.
        widths: Four positive integers, channels of the stages.
        blocks: Positive integer, residual blocks a stage.
        width: Positive integer, channels of every map.
        levels: `(finest, coarsest)`, integers, 2 <= finest <= 5 and finest <= coarsest
            <= 7: level n has stride 2^n.
        name: Name of the model. Detectors' maps are read under it.

    Returns:
        An uncompiled functional `keras.Model` that takes images scaled to about
        [-1, 1] and gives a dictionary of maps `(batch, h, w, width)`, `"P3"` to `"P6"`
        by default.

    Raises:
        ValueError: If an argument is not as above.
    """
    height, wide = image_shape[:2] if len(image_shape) == 3 else (0, 0)
    if not all(is_count(n) for n in image_shape) or height % 32 or wide % 32:
        raise ValueError(
            "`image_shape` must be (height, width, channels) with sides that are "
            f"multiples of 32. Received: image_shape={tuple(image_shape)}"
        )
    if len(widths) != 4 or not all(is_count(n) for n in [*widths, blocks, width]):
        raise ValueError(
            "`widths` must be four positive integers, `blocks` and `width` one each. "
            f"Received: widths={widths}, blocks={blocks}, width={width}"
        )
    finest, coarsest = levels
    if not 2 <= finest <= DEEPEST or not finest <= coarsest <= 7:
        raise ValueError(
            "`levels` must be (finest, coarsest) with 2 <= finest <= 5 and finest <= "
            f"coarsest <= 7. Received: levels={levels}"
        )
    images = keras.Input(image_shape, name="image")
    x = _normalized(_convolution(widths[0], 3, 2, "stem"), images)
    x = layers.MaxPooling2D(3, 2, "same", name="stem_pool")(x)
    stages = {}
    for level, channels in enumerate(widths[: min(coarsest, DEEPEST) - 1], start=2):
        for block in range(blocks):
            stride = 2 if level > 2 and block == 0 else 1
            x = _residual(x, channels, stride, f"stage{level}_block{block}")
        stages[level] = x
    maps = _top_down(stages, finest, width)
    for level in range(DEEPEST + 1, coarsest + 1):
        x = maps[f"P{level - 1}"]
        if level > DEEPEST + 1:
            x = layers.ReLU(name=f"P{level - 1}_relu")(x)
        maps[f"P{level}"] = layers.Conv2D(width, 3, 2, "same", name=f"P{level}")(x)
    return keras.Model(images, maps, name=name)


def _top_down(stages, finest, width):
    maps, above = {}, None
    for level in sorted(stages, reverse=True):
        if level < finest:
            break
        x = layers.Conv2D(width, 1, name=f"lateral{level}")(stages[level])
        if above is not None:
            larger = layers.UpSampling2D(2, name=f"enlarged{level}")(above)
            x = layers.Add(name=f"merged{level}")([x, larger])
        above = x
        maps[f"P{level}"] = layers.Conv2D(width, 3, padding="same", name=f"P{level}")(x)
    return dict(sorted(maps.items()))


def _residual(x, channels, stride, name):
    """Two convolutions and a way around them."""
    y = _normalized(_convolution(channels, 3, stride, f"{name}_conv1"), x)
    y = _normalized(_convolution(channels, 3, 1, f"{name}_conv2"), y, relu=False)
    if stride > 1:
        # The average of four cells instead of one of them (He et al., CVPR 2019,
        # https://arxiv.org/abs/1812.01187, ResNet-D). And TensorFlow 2.20 on processors
        # with AMX writes out of bounds in the gradient of a 1x1 kernel of stride 2.
        x = layers.AveragePooling2D(stride, name=f"{name}_way_pool")(x)
    if x.shape[-1] != channels:
        way = _convolution(channels, 1, 1, f"{name}_way")
        x = _normalized(way, x, relu=False)
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(x)


def _convolution(channels, size, stride, name):
    return layers.Conv2D(
        channels,
        size,
        stride,
        "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )


def _normalized(layer, x, relu=True):
    # Keras's momentum of 0.99 would leave the averages behind in short runs.
    x = layers.BatchNormalization(momentum=0.9, name=f"{layer.name}_bn")(layer(x))
    return layers.ReLU(name=f"{layer.name}_relu")(x) if relu else x
