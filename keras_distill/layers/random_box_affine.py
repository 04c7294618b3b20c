"""Flip, scale and crop images together with their boxes, in one resampling."""

import math

import keras
import tensorflow as tf
from keras import ops

from keras_distill.layers.draws import uniform_draws


@keras.saving.register_keras_serializable(package="keras_distill")
class RandomBoxAffine(keras.layers.Layer):
    """Moves every image of a batch, and its boxes, by chance.

    An image is mirrored, scaled by one factor and laid into a frame of its own size: a
    larger one is cropped, a smaller one surrounded by `fill_value`, both at a random
    place. It is sampled once, bilinearly. The identity unless `training` is true.

    A box is cut off at the edge of the frame. One of which less than `min_visible` of
    its area is left, or less than a pixel in width or height, goes: what remains of
    it would not be known for what it is.

    Args:
        horizontal: Whether to mirror left and right, half of the images. Defaults to
            `True`.
        vertical: Whether to mirror top and bottom, too. Defaults to `False`.
        scale: Largest change of size: factors lie in [1 / (1 + scale), 1 + scale],
            uniformly on a logarithmic axis. Defaults to `0.25`.
        min_visible: Part of a box's area in [0, 1]. Defaults to `0.3`.
        fill_value: Float in units of the image. Defaults to `127.0`, with which images
            are padded.
        seed: Integer or None, for the layer's own random numbers.
        **kwargs: `name` and `dtype`, see `keras.layers.Layer`.

    Call arguments:
        images: `(batch, height, width, channels)`, integers or floats.
        boxes: `(batch, M, 4)`, x1 y1 x2 y2 in pixels, corners on a continuous axis.
        mask: `(batch, M)` booleans: which boxes there are.
        training: Boolean; without it, everything passes through.
        draws: Float `(batch, draws_per_image)` in [-1, 1] in place of the layer's own
            random numbers: horizontal, vertical (below 0 mirrors), log scale, place
            across, place down. With them the layer has no state.

    Returns:
        `(images, boxes, mask)`, of the shapes given: float32, float32 and bool. Boxes
        that are gone are zeros.

    Raises:
        ValueError: If `scale` or `min_visible` is out of its range, or images are not
            of rank 4.
    """

    draws_per_image = 5

    def __init__(
        self,
        horizontal=True,
        vertical=False,
        scale=0.25,
        min_visible=0.3,
        fill_value=127.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if not 0 <= scale < math.inf:
            raise ValueError(
                f"`scale` must be finite and not negative. Received: scale={scale}"
            )
        if not 0 <= min_visible <= 1:
            raise ValueError(
                f"`min_visible` must lie in [0, 1]. Received: min_visible={min_visible}"
            )
        self.horizontal, self.vertical = horizontal, vertical
        self.scale, self.min_visible = scale, min_visible
        self.fill_value, self.seed = fill_value, seed
        self._generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # XLA cannot compile the resampling kernel.

    def call(self, images, boxes, mask, training=None, draws=None):
        if len(images.shape) != 4:
            raise ValueError(
                "Images must have shape (batch, height, width, channels). "
                f"Received: images.shape={images.shape}"
            )
        images, boxes = ops.cast(images, "float32"), ops.cast(boxes, "float32")
        mask = ops.cast(mask, "bool")
        if not training:
            return images, boxes, mask
        if draws is None:
            draws = uniform_draws(images, self.draws_per_image, self._generator)
        size = ops.cast(ops.shape(images)[1:3], "float32")  # height, width
        factor, start = self._motion(ops.cast(draws, "float32"), size)
        moved = self._resampled(images, factor, start, size)
        return moved, *self._moved_boxes(boxes, mask, factor, start, size)

    def _motion(self, draws, size):
        """`(batch, 2)` each, of y and x: a point p of the image goes to
        `factor * p + start`; a negative factor mirrors."""
        grow = ops.exp(draws[:, 2:3] * math.log1p(self.scale))  # (B, 1)
        mirrored = ops.stack([draws[:, 1], draws[:, 0]], axis=1) < 0
        mirrored &= ops.array([[self.vertical, self.horizontal]])
        # What is left over of the frame, or over it: negative for a larger image.
        place = (ops.stack([draws[:, 4], draws[:, 3]], axis=1) + 1) / 2
        start = place * (size - grow * size)
        return (
            ops.where(mirrored, -grow, grow),
            ops.where(mirrored, start + grow * size, start),
        )

    def _resampled(self, images, factor, start, size):
        """One crop an image, whose ends lie outside where the frame is not filled."""
        # Pixel i has its centre at i + 1/2. The kernel counts in centres, and in parts
        # of the distance between the first and the last of them.
        first = (0.5 - start) / factor - 0.5
        last = (size - 0.5 - start) / factor - 0.5
        between = ops.maximum(size - 1, 1)
        corners = ops.concatenate([first / between, last / between], axis=1)
        return tf.image.crop_and_resize(
            images,
            corners,
            ops.arange(ops.shape(images)[0]),
            ops.shape(images)[1:3],
            extrapolation_value=self.fill_value,
        )

    def _moved_boxes(self, boxes, mask, factor, start, size):
        factor = ops.tile(ops.flip(factor, 1), (1, 2))[:, None]  # of x y x y
        start = ops.tile(ops.flip(start, 1), (1, 2))[:, None]
        ends = boxes * factor + start
        low = ops.minimum(ends[..., :2], ends[..., 2:])  # mirrored corners change place
        high = ops.maximum(ends[..., :2], ends[..., 2:])
        edge = ops.flip(size, 0)
        cut_low = ops.clip(low, 0, edge)
        cut_high = ops.clip(high, 0, edge)
        sides = cut_high - cut_low
        area = ops.prod(high - low, axis=-1)
        visible = ops.prod(sides, axis=-1) >= self.min_visible * area
        mask = mask & visible & ops.all(sides >= 1, axis=-1)
        cut = ops.concatenate([cut_low, cut_high], axis=-1)
        return ops.where(mask[..., None], cut, 0.0), mask

    def compute_output_shape(self, images_shape, boxes_shape, mask_shape):
        return images_shape, boxes_shape, mask_shape

    def get_config(self):
        return {
            **super().get_config(),
            "horizontal": self.horizontal,
            "vertical": self.vertical,
            "scale": self.scale,
            "min_visible": self.min_visible,
            "fill_value": self.fill_value,
            "seed": self.seed,
        }
