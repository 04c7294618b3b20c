"""Bend each image by a smooth random field, as a hand bends a letter."""

import math

import keras
import numpy as np
from keras import ops

from keras_distill.layers.draws import uniform_draws


@keras.saving.register_keras_serializable(package="keras_distill")
class RandomElastic(keras.layers.Layer):
    """Moves the pixels of every image by a smooth field of its own.

    Over the image lies a grid of `nodes` x `nodes` control points, each with a shift in
    x and in y that is uniform in plus or minus `amplitude`, times a strength of the
    image that is uniform in [0, 1]. The shift of a pixel is the cubic B-spline of the
    control points (free-form deformation, Rueckert et al., IEEE TMI 1999): smooth, and
    nowhere larger than `amplitude`, though over the whole it is about a quarter of
    that. The image is sampled once, bilinearly; its edge is repeated outside.

    Few nodes bend, stretch and lean whole letters; many make lines tremble. Simard et
    al. (ICDAR 2003) draw the field per pixel and smooth it with a Gaussian instead,
    whose width is what the distance of the nodes is here. The identity unless
    `training` is true.

    Args:
        amplitude: Largest shift, as a part of the shorter side of the image. Where it
            nears half the distance of the nodes, `1 / (nodes - 3)`, the image may
            fold. Defaults to `0.15`.
        nodes: Integer >= 4, control points in each direction; the outermost ones lie
            outside of the image. Defaults to `5`.
        seed: Integer or None, for the layer's own random numbers.
        **kwargs: `name` and `dtype`, see `keras.layers.Layer`.

    Attributes:
        draws_per_image: How many random numbers an image takes, `2 * nodes**2 + 1`.

    Call arguments:
        images: `(batch, height, width, channels)`, integers or floats.
        training: Boolean; without it, images pass through.
        draws: Float `(batch, draws_per_image)` in [-1, 1], used in place of the
            layer's own random numbers: the strength as `2 * strength - 1`, the shifts
            in x, row by row, and those in y, as parts of `amplitude`. With them the
            layer has no state, so that a parallel pipeline is reproducible.

    Returns:
        Tensor of the shape of `images`, in the layer's compute dtype; sampled in
        float32 whatever that is.

    Raises:
        ValueError: If `amplitude` is negative or not finite, `nodes` is no integer or
            below 4, or images are not of rank 4 or have no known height and width.
    """

    def __init__(self, amplitude=0.15, nodes=5, seed=None, **kwargs):
        # Images are cast where they are sampled; `draws` keep their precision.
        super().__init__(autocast=False, **kwargs)
        if not 0 <= amplitude < math.inf:
            raise ValueError(
                "`amplitude` must be finite and not negative. "
                f"Received: amplitude={amplitude}"
            )
        if not isinstance(nodes, int) or isinstance(nodes, bool) or nodes < 4:
            raise ValueError(
                f"`nodes` must be an integer of at least 4. Received: nodes={nodes!r}"
            )
        self.amplitude, self.nodes, self.seed = amplitude, nodes, seed
        self.draws_per_image = 2 * nodes**2 + 1
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=None, draws=None):
        if len(images.shape) != 4 or None in tuple(images.shape)[1:3]:
            raise ValueError(
                "Images must have shape (batch, height, width, channels), with height "
                f"and width known. Received: images.shape={images.shape}"
            )
        if not training:
            return ops.cast(images, self.compute_dtype)
        if draws is None:
            draws = uniform_draws(images, self.draws_per_image, self._generator)
        across, down = self._shifts(ops.cast(draws, "float32"), images.shape[1:3])
        moved = _sampled(ops.cast(images, "float32"), across, down)
        return ops.cast(moved, self.compute_dtype)

    def _shifts(self, draws, size):
        """Two `(batch, height, width)`: how far from it a pixel is taken, in pixels."""
        height, width = size
        reach = self.amplitude * min(height, width)
        strength = (draws[:, :1] + 1) / 2 * reach
        points = ops.reshape(
            strength * draws[:, 1:], (-1, 2, self.nodes, self.nodes)
        )  # (B, 2, nodes, nodes)
        rows, columns = _spline(height, self.nodes), _spline(width, self.nodes)
        field = ops.matmul(rows, ops.matmul(points, ops.transpose(columns)))
        return field[:, 0], field[:, 1]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "amplitude": self.amplitude,
            "nodes": self.nodes,
            "seed": self.seed,
        }


def _spline(size, nodes):
    """float32 `(size, nodes)`: what each control point adds to each pixel; rows are 1.

    The uniform cubic B-spline over `nodes - 3` spans that reach from the first pixel
    to the last.
    """
    place = np.linspace(0, nodes - 3, size)
    distance = np.abs(place[:, None] - (np.arange(nodes) - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _sampled(images, across, down):
    """`images (B, H, W, C)` at each pixel's place plus a shift `(B, H, W)`."""
    height, width, channels = images.shape[1:]
    pixels = ops.reshape(images, (-1, channels))
    y = ops.clip(np.arange(height, dtype="float32")[:, None] + down, 0, height - 1)
    x = ops.clip(np.arange(width, dtype="float32") + across, 0, width - 1)
    top, left = ops.floor(y), ops.floor(x)
    dy, dx = (y - top)[..., None], (x - left)[..., None]
    top, left = ops.cast(top, "int32"), ops.cast(left, "int32")
    bottom, right = ops.minimum(top + 1, height - 1), ops.minimum(left + 1, width - 1)
    first = ops.arange(ops.shape(images)[0], dtype="int32") * (height * width)
    first = first[:, None, None]

    def at(row, column):
        return ops.take(pixels, first + row * width + column, axis=0)

    upper = at(top, left) * (1 - dx) + at(top, right) * dx
    lower = at(bottom, left) * (1 - dx) + at(bottom, right) * dx
    return upper * (1 - dy) + lower * dy
