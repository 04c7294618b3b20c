"""Make the strokes of each drawing thicker or thinner by chance."""

import math

import keras
from keras import ops

from keras_distill.layers.draws import uniform_draws

INKS = ("dark", "light")


@keras.saving.register_keras_serializable(package="keras_distill")
class RandomStrokeWidth(keras.layers.Layer):
    """Draws every image of a batch with a pen of another width.

    The width of a stroke grows or shrinks by up to 2 pixels for each pixel of
    `thicker` and `thinner`: the outline moves, by grey-level morphology, step by step.
    A step outwards is the dilation of the ink by a pixel and its four neighbours
    (after an even number of steps: by all eight, so that circles become octagons, not
    diamonds). A step inwards is the erosion by the same neighbours, together with what
    their opening would lose:

        thinner(ink) = max(erode(ink), ink - dilate(erode(ink)))

    so that a stroke which is too thin to lose its outline stays as it is: characters
    do not fall apart, and none vanishes. A part of a step mixes what is before and
    after it. The identity unless `training` is true.

    Args:
        thicker: Largest step outwards, in pixels. Defaults to `1.0`.
        thinner: Largest step inwards, in pixels. Defaults to `1.0`.
        ink: `"dark"` strokes on light ground or `"light"` ones on dark. Defaults to
            `"dark"`.
        seed: Integer or None, for the layer's own random numbers.
        **kwargs: `name` and `dtype`, see `keras.layers.Layer`.

    Call arguments:
        images: `(batch, height, width, channels)`, integers or floats; each channel is
            a drawing of its own.
        training: Boolean; without it, images pass through.
        draws: Float `(batch, 1)` in [-1, 1], used in place of the layer's own random
            numbers: 1 is `thicker`, -1 is `thinner`, 0 leaves the image. With them
            the layer has no state, so that a parallel pipeline is reproducible.

    Returns:
        Tensor of the shape of `images`, in the layer's compute dtype; computed in
        float32 whatever that is.

    Raises:
        ValueError: If a step is negative or not finite, the ink is unknown, or images
            are not of rank 4.
    """

    draws_per_image = 1

    def __init__(self, thicker=1.0, thinner=1.0, ink="dark", seed=None, **kwargs):
        # Images are cast where they are drawn; `draws` keep their precision.
        super().__init__(autocast=False, **kwargs)
        for name, value in {"thicker": thicker, "thinner": thinner}.items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be finite and not negative. "
                    f"Received: {name}={value}"
                )
        if ink not in INKS:
            raise ValueError(
                f"`ink` must be one of {', '.join(INKS)}. Received: ink={ink!r}"
            )
        self.thicker, self.thinner, self.ink = thicker, thinner, ink
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

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
        draws = ops.cast(draws, "float32")[:, 0, None, None, None]
        sign = -1.0 if self.ink == "dark" else 1.0
        ink = sign * ops.cast(images, "float32")
        ink = _moved(ink, draws * self.thicker, math.ceil(self.thicker), _dilated)
        ink = _moved(ink, -draws * self.thinner, math.ceil(self.thinner), _thinned)
        return ops.cast(sign * ink, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "thicker": self.thicker,
            "thinner": self.thinner,
            "ink": self.ink,
            "seed": self.seed,
        }


def _moved(ink, steps, most, step):
    """Applies `steps (batch, 1, 1, 1)`, none where negative, in `most` turns."""
    for turn in range(most):
        part = ops.clip(steps - turn, 0, 1)
        ink = ink + part * (step(ink, turn) - ink)
    return ink


def _dilated(ink, turn):
    across, down = _highest(ink, (1, 3)), _highest(ink, (3, 1))
    return ops.maximum(across, down) if turn % 2 == 0 else _highest(across, (3, 1))


def _thinned(ink, turn):
    eroded = -_dilated(-ink, turn)
    # On a scale on which no ink is 0: levels of dark ink are negative.
    ground = ops.min(ink, axis=(1, 2), keepdims=True)
    lost = ink - _dilated(eroded, turn)
    return ops.maximum(eroded, ground + lost)


def _highest(ink, size):
    return ops.max_pool(
        ink, size, strides=1, padding="same", data_format="channels_last"
    )
