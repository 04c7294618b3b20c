"""Trunks: images in [0, 255] to a map of features. One function each.

A trunk takes a float tensor `(batch, height, width, channels)` in [0, 255], does
its own preprocessing, and returns the map `(batch, h, w, features)` after its last
activation, before any pooling.
"""

import inspect
import re

import keras
from keras import layers, ops

# What the trained weights of a `keras.applications` family expect. The families
# that are not named here (MobileNetV3, EfficientNet, EfficientNetV2, ConvNeXt)
# carry their preprocessing themselves and take [0, 255].
_SIGNED = ("MobileNet", "MobileNetV2", "InceptionV3", "InceptionResNetV2", "Xception")
_SIGNED += ("NASNetMobile", "NASNetLarge", "ResNet50V2", "ResNet101V2", "ResNet152V2")
_CAFFE = ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152")
_TORCH = ("DenseNet121", "DenseNet169", "DenseNet201")


def conv4(channels=64):
    """A trunk of four 3x3 convolutions: the small net of few-shot learning.

    Vinyals et al., 2016 (https://arxiv.org/abs/1606.04080), there with 64 channels.
    The map is taken before the fourth max-pooling, so that a 32 pixel image gives 4x4
    cells to pool.

    Args:
        channels: Positive integer, of each convolution.

    Returns:
        A function `(images, weights=None)`.
    """

    def trunk(images, weights=None):
        _no_weights("conv4", weights)
        x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
        for stage in range(1, 5):
            if stage > 1:
                x = layers.MaxPooling2D(2, name=f"pool{stage - 1}")(x)
            convolution = layers.Conv2D(
                channels, 3, padding="same", use_bias=False, name=f"conv{stage}"
            )
            x = _normalization(f"bn{stage}")(convolution(x))
            x = layers.ReLU(name=f"relu{stage}")(x)
        return x

    return trunk


def separable(images, weights=None):
    """Depthwise-separable convolutions with ReLU6: small, and quantises well.

    MobileNet's block (Howard et al., 2017, https://arxiv.org/abs/1704.04861) at a
    size for 32 to 96 pixel images: 0.1 M parameters. ReLU6 bounds what an int8
    activation has to cover.
    """
    _no_weights("separable", weights)
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
    x = _normalized(layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem"), x)
    for i, (width, stride) in enumerate([(64, 1), (128, 2), (128, 1), (256, 2)]):
        depthwise = layers.DepthwiseConv2D(
            3, stride, "same", use_bias=False, name=f"depthwise{i + 1}"
        )
        pointwise = layers.Conv2D(width, 1, use_bias=False, name=f"pointwise{i + 1}")
        x = _normalized(pointwise, _normalized(depthwise, x))
    return x


def application(name):
    """A trunk from `keras.applications` by the name of its function.

    Args:
        name: For example `"MobileNetV3Small"`.

    Returns:
        A function `(images, weights=None)`, as `conv4` is. `weights` is `None` or
        what the function takes, `"imagenet"` for example. Grey images are repeated
        to three channels, as the trained weights expect.
    """

    def trunk(images, weights=None):
        if images.shape[-1] == 1 and weights is not None:
            images = layers.Concatenate(name="grey_to_rgb")([images] * 3)
        if name in _SIGNED:
            images = layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(images)
        elif name in _CAFFE:
            centre = [-103.939, -116.779, -123.68][: images.shape[-1]]
            images = ops.flip(images, axis=-1)  # RGB to BGR
            images = layers.Rescaling(1.0, offset=centre, name="rescale")(images)
        elif name in _TORCH:
            channels = images.shape[-1]
            mean = (0.485, 0.456, 0.406)[:channels]
            deviation = (0.229, 0.224, 0.225)[:channels]
            scale = [1 / (255 * d) for d in deviation]
            offset = [-m / d for m, d in zip(mean, deviation, strict=True)]
            images = layers.Rescaling(scale, offset, name="rescale")(images)
        build = getattr(keras.applications, name)
        net = build(include_top=False, weights=weights, input_shape=images.shape[1:])
        return net(images)

    return trunk


def names():
    """The names `backbone()` knows, ours first."""
    theirs = []
    for name in dir(keras.applications):
        item = getattr(keras.applications, name)
        if inspect.isfunction(item):
            # Their builders are the functions that can leave the classifier out.
            if "include_top" in inspect.signature(item).parameters:
                theirs.append(name)
    return ["conv4", "conv4_N (of N channels)", "separable", *theirs]


def backbone(name):
    """The trunk called `name`.

    Raises:
        ValueError: If there is none of that name; the known ones are listed.
    """
    if name == "separable":
        return separable
    if channels := re.fullmatch(r"conv4(?:_([1-9]\d*))?", name):
        return conv4(int(channels[1] or 64))
    known = names()
    if name not in known:
        raise ValueError(
            f"Unknown backbone. Expected one of {', '.join(known)}. "
            f"Received: backbone={name!r}"
        )
    return application(name)


def _normalized(layer, x):
    x = _normalization(f"{layer.name}_bn")(layer(x))
    return layers.ReLU(6.0, name=f"{layer.name}_relu6")(x)


def _normalization(name):
    # Keras's momentum of 0.99 leaves 0.7 % of the initial variance, 1, in the averages
    # after 500 steps: more than the variance of a first convolution of pixels.
    return layers.BatchNormalization(momentum=0.9, name=name)


def _no_weights(name, weights):
    if weights is not None:
        raise ValueError(
            f"There are no trained weights for {name!r}: pass weights=None. "
            f"Received: weights={weights!r}"
        )
