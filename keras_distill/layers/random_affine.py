"""Shift, rotate, scale and shear each image by chance, in one resampling."""

import math

import keras
from keras import ops

from keras_distill.layers.draws import uniform_draws

FILL_MODES = ("nearest", "constant", "reflect")


@keras.saving.register_keras_serializable(package="keras_distill")
class RandomAffine(keras.layers.Layer):
    """Moves every image of a batch by an affine map of its own.

    The four motions are multiplied into one map about the centre of the image, and
    the image is sampled once, bilinearly: chained layers would blur it four times.
    A point of the image at `(x, y)` from the centre goes to

        rotate(angle) @ [[1, tan(shear)], [0, 1]] @ (scale * (x, y)) + shift

    with y downwards and positive angles turning clockwise. Each number is uniform
    in plus or minus its range, `scale` on a logarithmic axis, so that growing by a
    factor is as likely as shrinking by it. The identity unless `training` is true.

    Args:
        shift: Largest shift in each direction, as a part of height and width.
            Defaults to `0.1`.
        rotation: Largest angle in degrees. Defaults to `10.0`.
        scale: Largest change of size: factors lie in [1 / (1 + scale), 1 + scale].
            Defaults to `0.1`.
        shear: Largest angle in degrees by which verticals lean. Defaults to `0.0`.
        fill_mode: What appears from outside the image: `"nearest"` repeats the
            edge, `"constant"` is `fill_value`, `"reflect"` mirrors. Defaults to
            `"nearest"`.
        fill_value: Float for `"constant"`, in units of the image. Defaults to `0.0`.
        seed: Integer or None, for the layer's own random numbers.
        **kwargs: `name` and `dtype`, see `keras.layers.Layer`.

    Call arguments:
        images: `(batch, height, width, channels)`, integers or floats.
        training: Boolean; without it, images pass through.
        draws: Float `(batch, draws_per_image)` in [-1, 1], used in place of the
            layer's own random numbers: shift x, shift y, rotation, log scale, shear
            as parts of their ranges. With them the layer has no state, so that a
            parallel pipeline is reproducible.

    Returns:
        Tensor of the shape of `images`, in the layer's compute dtype; sampled in
        float32 whatever that is.

    Raises:
        ValueError: If a range is negative or not finite, an angle reaches 90 for
            shear, the fill mode is unknown, or images are not of rank 4.
    """

    draws_per_image = 5

    def __init__(
        self,
        shift=0.1,
        rotation=10.0,
        scale=0.1,
        shear=0.0,
        fill_mode="nearest",
        fill_value=0.0,
        seed=None,
        **kwargs,
    ):
        # Images are cast where they are sampled; `draws` keep their precision.
        super().__init__(autocast=False, **kwargs)
        ranges = {"shift": shift, "rotation": rotation, "scale": scale, "shear": shear}
        for name, value in ranges.items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be finite and not negative. "
                    f"Received: {name}={value}"
                )
        if shear >= 90:
            raise ValueError(
                f"`shear` must be below 90 degrees. Received: shear={shear}"
            )
        if fill_mode not in FILL_MODES:
            raise ValueError(
                f"`fill_mode` must be one of {', '.join(FILL_MODES)}. "
                f"Received: fill_mode={fill_mode!r}"
            )
        self.shift, self.rotation = shift, rotation
        self.scale, self.shear = scale, shear
        self.fill_mode, self.fill_value = fill_mode, fill_value
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # XLA cannot compile the resampling kernel.

    def call(self, images, training=None, draws=None):
        if len(images.shape) != 4:
            raise ValueError(
                "Images must have shape (batch, height, width, channels). "
                f"Received: images.shape={images.shape}"
            )
        if not training:
            return ops.cast(images, self.compute_dtype)
        if draws is None:
            draws = uniform_draws(images, self.draws_per_image, self._generator)
        height, width = (ops.cast(n, "float32") for n in ops.shape(images)[1:3])
        moved = ops.image.affine_transform(
            ops.cast(images, "float32"),
            self._maps(ops.cast(draws, "float32"), height, width),
            interpolation="bilinear",
            fill_mode=self.fill_mode,
            fill_value=self.fill_value,
            data_format="channels_last",
        )
        return ops.cast(moved, self.compute_dtype)

    def _maps(self, draws, height, width):
        """`(batch, 8)`: for each image, where an output pixel comes from.

        The inverse of the map in the class's description, in pixels from the top
        left: `from_x = a0 x + a1 y + a2, from_y = b0 x + b1 y + b2`.
        """
        across, down, angle, size, lean = ops.unstack(draws, axis=1)
        across, down = across * self.shift * width, down * self.shift * height
        angle = angle * math.radians(self.rotation)
        shrink = ops.exp(-size * math.log1p(self.scale))
        lean = ops.tan(lean * math.radians(self.shear))
        cos, sin = ops.cos(angle), ops.sin(angle)
        # shrink * [[1, -lean], [0, 1]] @ [[cos, sin], [-sin, cos]]
        a0, a1 = shrink * (cos + lean * sin), shrink * (sin - lean * cos)
        b0, b1 = -shrink * sin, shrink * cos
        # The centre of the pixels, shifted, must come from the centre.
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        to_x, to_y = middle_x + across, middle_y + down
        a2 = middle_x - a0 * to_x - a1 * to_y
        b2 = middle_y - b0 * to_x - b1 * to_y
        zero = ops.zeros_like(a0)
        return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "shift": self.shift,
            "rotation": self.rotation,
            "scale": self.scale,
            "shear": self.shear,
            "fill_mode": self.fill_mode,
            "fill_value": self.fill_value,
            "seed": self.seed,
        }
