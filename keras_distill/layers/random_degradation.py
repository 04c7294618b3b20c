"""Spoil some of the images as cameras and their users do."""

import math

import keras
from keras import ops

from keras_distill.layers.covered_area import covered_area
from keras_distill.layers.draws import uniform_draws
from keras_distill.layers.enlarged_window import enlarged_window
from keras_distill.layers.gaussian_blur import gaussian_blur
from keras_distill.layers.pixel_noise import pixel_noise

FAULTS = ("crop", "occlusion", "darkness", "blur", "noise")


@keras.saving.register_keras_serializable(package="keras_distill")
class RandomDegradation(keras.layers.Layer):
    """Gives some images of a batch one or more faults, each of its own strength.

    `share` of the images are spoilt. A spoilt image has one of the faults, all equally
    likely, and each of the others with probability `more`. How strong a fault is, is
    uniform between 0 and its largest value; a largest value of 0 takes the fault out.
    Images that are not spoilt pass through bit for bit, and all do unless `training`
    is true.

    Faults come in this order, from the scene through the lens to the sensor, so that
    sizes and grey levels are those of the image that comes out:

    * crop: a window at a random place is enlarged to the size of the image.
    * occlusion: a rectangle lies over the image, its sides in a ratio of up to 1:2
      (in parts of those of the image), with one grey level.
    * darkness d: of light, 1 - d is left, and of contrast 1 - d/2 of that:
      `(1 - d) * (mean + (1 - d / 2) * (x - mean))` with the mean of the image. The
      little light comes in few photons, see `shot_noise`.
    * blur: a Gaussian; the edge is repeated outside.
    * noise: normal, independent in every pixel and channel.

    The result is cut off at 0 and 255 and is not rounded.

    Args:
        blur: Largest standard deviation of the Gaussian, as a part of the shorter side
            of the image. Defaults to `0.05`, 2.4 pixels of 48.
        noise: Largest standard deviation of the noise in grey levels. Defaults to
            `50.0`.
        occlusion: Largest part of the area that is covered, up to 1. Defaults to `0.4`.
        darkness: Largest part of the light that is missing, up to 1, which is black.
            Defaults to `0.8`.
        crop: Largest part of height and of width that is cut away, below 1. Defaults
            to `0.4`.
        share: Part of the images that are spoilt, in [0, 1]. Defaults to `0.5`.
        more: Probability in [0, 1] of each fault but the first. Defaults to `0.2`.
        shot_noise: Standard deviation, in grey levels, that white would have in the
            dark: that of level v at darkness d is `shot_noise * sqrt(d * v / 255)`,
            with v as it is left by darkness. Defaults to `10.0`.
        fill_value: Grey level in [0, 255] of the rectangle, or None for one by
            chance. Defaults to None.
        seed: Integer or None, for the layer's own random numbers.
        **kwargs: `name` and `dtype`, see `keras.layers.Layer`.

    Call arguments:
        images: `(batch, height, width, channels)` in [0, 255], integers or floats.
        training: Boolean; without it, images pass through.
        draws: Float `(batch, draws_per_image)` in [-1, 1), used in place of the
            layer's own random numbers, those of single pixels included. With them the
            layer has no state, so that a parallel pipeline is reproducible.

    Returns:
        Tensor of the shape of `images`, in [0, 255], in the layer's compute dtype;
        computed in float32 whatever that is.

    Raises:
        ValueError: If a number is outside of its range, or images are not of rank 4.
    """

    draws_per_image = 20

    def __init__(
        self,
        blur=0.05,
        noise=50.0,
        occlusion=0.4,
        darkness=0.8,
        crop=0.4,
        share=0.5,
        more=0.2,
        shot_noise=10.0,
        fill_value=None,
        seed=None,
        **kwargs,
    ):
        # Images are cast where they are spoilt; `draws` keep their precision.
        super().__init__(autocast=False, **kwargs)
        for name, value in {
            "blur": blur,
            "noise": noise,
            "shot_noise": shot_noise,
        }.items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be finite and not negative. "
                    f"Received: {name}={value}"
                )
        parts = {
            "occlusion": occlusion,
            "darkness": darkness,
            "share": share,
            "more": more,
        }
        for name, value in parts.items():
            if not 0 <= value <= 1:
                raise ValueError(
                    f"`{name}` must lie in [0, 1]. Received: {name}={value}"
                )
        if not 0 <= crop < 1:
            raise ValueError(f"`crop` must lie in [0, 1). Received: crop={crop}")
        if fill_value is not None and not 0 <= fill_value <= 255:
            raise ValueError(
                "`fill_value` must lie in [0, 255], or be None for a level by chance. "
                f"Received: fill_value={fill_value}"
            )
        self.blur, self.noise, self.occlusion = blur, noise, occlusion
        self.darkness, self.crop = darkness, crop
        self.share, self.more = share, more
        self.shot_noise, self.fill_value = shot_noise, fill_value
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # XLA cannot compile the resampling kernel.

    def call(self, images, training=None, draws=None):
        if len(images.shape) != 4:
            raise ValueError(
                "Images must have shape (batch, height, width, channels). "
                f"Received: images.shape={images.shape}"
            )
        if not training or not self._enabled():
            return ops.cast(images, self.compute_dtype)
        if draws is None:
            draws = uniform_draws(images, self.draws_per_image, self._generator)
        draws = ops.cast(draws, "float32")
        clean = ops.cast(images, "float32")
        strengths = self.strengths(draws)
        spoilt = self._spoilt(clean, strengths, draws)
        chosen = ops.any(strengths > 0, axis=1)[:, None, None, None]
        return ops.cast(ops.where(chosen, spoilt, clean), self.compute_dtype)

    def strengths(self, draws):
        """Which faults the images of these draws get, and how strong.

        Args:
            draws: Float `(batch, draws_per_image)` in [-1, 1), as `call` takes them,
                and as `data.FixedViews.draws` gives them.

        Returns:
            float32 `(batch, 5)`: crop, occlusion, darkness, blur and noise, in the
            units of the arguments of these names; 0 where the image lacks the fault.
        """
        unit = (ops.cast(draws, "float32") + 1) / 2
        enabled = self._enabled()
        places = ops.cast(unit[:, 1:2] * len(enabled), "int32")
        first = ops.equal(places, [_place(fault, enabled) for fault in FAULTS])
        present = ops.logical_or(first, unit[:, 2:7] < self.more)
        present = ops.logical_and(present, unit[:, :1] < self.share)
        largest = ops.array([getattr(self, fault) for fault in FAULTS], "float32")
        return ops.where(present, unit[:, 7:12] * largest, 0.0)

    def _enabled(self):
        return [fault for fault in FAULTS if getattr(self, fault) > 0]

    def _spoilt(self, images, strengths, draws):
        """All images with the faults of these strengths; 0 changes nothing."""
        crop, occlusion, darkness, blur, noise = ops.unstack(strengths, axis=1)
        _, height, width, channels = ops.shape(images)
        if self.crop > 0:
            images = enlarged_window(images, crop, draws[:, 12], draws[:, 13])
        if self.occlusion > 0:
            covered = covered_area(
                occlusion, draws[:, 14], draws[:, 15], draws[:, 16], (height, width)
            )
            images = images + covered * (self._levels(draws[:, 17]) - images)
        if self.darkness > 0:
            images = _darkened(images, _of_images(darkness))
        if self.blur > 0:
            side = ops.cast(ops.minimum(height, width), "float32")
            images = gaussian_blur(images, blur * side, self.blur * side)
        if self.noise > 0 or (self.darkness > 0 and self.shot_noise > 0):
            # Two independent normal numbers add as their variances do.
            shot = self.shot_noise**2 * _of_images(darkness) * images / 255
            deviation = ops.sqrt(ops.square(_of_images(noise)) + ops.maximum(shot, 0))
            normal = pixel_noise(draws[:, 18:20], (height, width, channels))
            images = images + deviation * normal
        return ops.clip(images, 0, 255)

    def _levels(self, draws):
        """Grey levels of the rectangles, to be broadcast over images."""
        if self.fill_value is not None:
            return float(self.fill_value)
        return _of_images((draws + 1) / 2 * 255)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "blur": self.blur,
            "noise": self.noise,
            "occlusion": self.occlusion,
            "darkness": self.darkness,
            "crop": self.crop,
            "share": self.share,
            "more": self.more,
            "shot_noise": self.shot_noise,
            "fill_value": self.fill_value,
            "seed": self.seed,
        }


def _place(fault, enabled):
    """The number of a fault among those that are not taken out, or none at all."""
    return enabled.index(fault) if fault in enabled else -1


def _darkened(images, darkness):
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return (1 - darkness) * (mean + (1 - darkness / 2) * (images - mean))


def _of_images(numbers):
    """`(batch,)` numbers, to be broadcast over images."""
    return numbers[:, None, None, None]
