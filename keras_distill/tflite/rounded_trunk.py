"""A trunk computed in float as its int8 file will: rounded weights and activations."""

import keras
import numpy as np
from keras import layers, ops

from keras_distill.tflite.quantize import on_the_grid
from keras_distill.tflite.trunk_of import graph_of

_KERNELS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
_ACTIVATIONS = (layers.ReLU, layers.Activation)
# What gives numbers that it was given: they are on the steps of a scale already.
_MOVES = (
    layers.Dropout,
    layers.Flatten,
    layers.Identity,
    layers.MaxPooling2D,
    layers.Reshape,
    layers.ZeroPadding2D,
)


class RoundedTrunk:
    """Runs the layers of a trunk with the rounding of `quantize_trunk` after each.

    As the converter does, batch normalisation is folded into the kernel before it,
    and an activation into what it follows. Then kernels are rounded to 255 steps
    with one symmetric range a channel, activations to 256 steps of one range a
    tensor, the extremes over some images. Gradients pass what was rounded as if it
    had not been, and stop where a range ends (Jacob et al., CVPR 2018,
    https://arxiv.org/abs/1712.05877, section 3).

    Args:
        trunk: Functional `keras.Model`, see `trunk_of`; its layers and variables
            are used as they are.

    Attributes:
        variables: Kernels, biases, and the offsets of folded normalisations, which
            are biases in the file. Statistics and factors are not among them.
    """

    def __init__(self, trunk):
        first, *self._steps = graph_of(trunk)
        self._start, self._end = first.output, self._steps[-1].output
        users = {}
        for step in self._steps:
            for name in step.inputs:
                users.setdefault(name, []).append(step)
        self._norms, self._folded, self._inner = {}, set(), set()
        for step in self._steps:
            (user, *others) = users.get(step.output) or [None]
            if user is None or others:
                continue
            if isinstance(step.layer, _KERNELS) and _folds(step.layer, user.layer):
                self._norms[step.output] = user.layer
                self._folded.add(user.output)
                self._inner.add(step.output)
            elif isinstance(user.layer, _ACTIVATIONS):
                self._inner.add(step.output)
        self._ranges = {}
        self.variables = self._trainable()

    def measure(self, pixels):
        """Widens the ranges to what the activations take for some images.

        Args:
            pixels: float array `(count, height, width, channels)`, as the trunk
                takes them.
        """
        for name, value in self._run(pixels, lambda name, value: value).items():
            value = ops.convert_to_numpy(value)
            # A range holds 0, so that padding is exact.
            low, high = self._ranges.get(name, (0.0, 1e-6))
            self._ranges[name] = (
                min(low, float(np.min(value))),
                max(high, float(np.max(value))),
            )

    def __call__(self, pixels):
        """Rows `(count, dim)` as the int8 file gives them before their last step."""
        return self._run(pixels, self._rounded, _rounded_kernel)[self._end]

    def _run(self, pixels, end, kernel=lambda value: value):
        tensors = {self._start: end(self._start, pixels)}
        for step in self._steps:
            given = [tensors[name] for name in step.inputs]
            if isinstance(step.layer, _KERNELS):
                norm = self._norms.get(step.output)
                value = _computed(step.layer, norm, given[0], kernel)
            elif step.output in self._folded:
                value = given[0]
            else:
                value = step.layer(given[0] if len(given) == 1 else given)
            # What is folded into its user is no tensor of the file.
            if step.output not in self._inner and not isinstance(step.layer, _MOVES):
                value = end(step.output, value)
            tensors[step.output] = value
        return tensors

    def _rounded(self, name, value):
        import tensorflow as tf

        low, high = self._ranges[name]
        if name == self._start:
            low, high = on_the_grid(low, high)
        return tf.quantization.fake_quant_with_min_max_args(value, low, high)

    def _trainable(self):
        found = []
        for step in self._steps:
            if isinstance(step.layer, _KERNELS):
                found.append(step.layer.kernel)
                norm = self._norms.get(step.output)
                if norm is not None and norm.center:
                    found.append(norm.beta)
                elif step.layer.use_bias:
                    found.append(step.layer.bias)
        return list({id(variable): variable for variable in found}.values())


def _folds(layer, norm):
    return (
        isinstance(norm, layers.BatchNormalization)
        and layer.activation is keras.activations.linear
        and norm.axis in (-1, 3)
    )


def _computed(layer, norm, x, rounded):
    """A layer with a kernel, its kernel and bias as they are in the file."""
    kernel, bias = layer.kernel, layer.bias if layer.use_bias else 0.0
    if isinstance(layer, layers.DepthwiseConv2D):
        channels = kernel.shape[2] * kernel.shape[3]
        # Its file has a scale for each of all these channels.
        kernel = ops.reshape(kernel, (*kernel.shape[:2], channels))
    if norm is not None:
        factor = ops.rsqrt(norm.moving_variance + norm.epsilon)
        factor = factor * norm.gamma if norm.scale else factor
        kernel = kernel * factor
        bias = (bias - norm.moving_mean) * factor + (norm.beta if norm.center else 0.0)
    kernel = rounded(kernel)
    if isinstance(layer, layers.Dense):
        x = ops.matmul(x, kernel)
    else:
        given = (layer.strides, layer.padding, layer.data_format, layer.dilation_rate)
        if isinstance(layer, layers.DepthwiseConv2D):
            kernel = ops.reshape(kernel, layer.kernel.shape)
            x = ops.depthwise_conv(x, kernel, *given)
        else:
            x = ops.conv(x, kernel, *given)
    return layer.activation(x + bias)


def _rounded_kernel(kernel):
    import tensorflow as tf

    kernel = ops.convert_to_tensor(kernel)
    most = ops.max(ops.abs(kernel), axis=tuple(range(len(kernel.shape) - 1)))
    most = ops.stop_gradient(ops.maximum(most, 1e-8))
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        kernel, -most, most, narrow_range=True
    )
