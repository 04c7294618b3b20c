"""A frozen model, asked for its opinion of the student's images."""

import functools

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_distill.models.tap import OUTPUT, tap


class TeacherView:
    """Calls a teacher in inference mode, without gradient.

    Not a layer, so that a model that holds it neither trains nor saves the teacher.
    The teacher itself is left as it is: its `trainable` is not touched.

    Args:
        model: A `keras.Model` from images to embeddings.
        paths: Paths of inner layers to read as well, see `tap`.
    """

    def __init__(self, model, paths=()):
        self.model = model
        self.paths = tuple(paths)
        self._view = tap(model, paths) if paths else model

    def __call__(self, images):
        """What the teacher says of `images`.

        Args:
            images: `(batch, h, w, channels)`. Resized bilinearly, with antialiasing,
                where the teacher wants another resolution; grey images repeated where
                it wants three channels; rounded where it takes integers.

        Returns:
            Its output, and a dictionary from each path to that layer's output.

        Raises:
            ValueError: If the teacher wants other channels.
        """
        found = self._view(self._fit(images), training=False)
        found = keras.tree.map_structure(ops.stop_gradient, found)
        if not self.paths:
            return found, {}
        return found.pop(OUTPUT), found

    def _fit(self, images):
        wanted = getattr(self.model, "input_shape", None)
        if not isinstance(wanted, tuple) or len(wanted) != 4:
            return images
        height, width, channels = wanted[1:]
        if images.shape[-1] == 1 and channels == 3:
            images = ops.repeat(images, 3, axis=-1)
        if channels not in (None, images.shape[-1]):
            raise ValueError(
                f"The teacher takes images of {channels} channels; only grey ones are "
                "brought to its number. Give it its own under 'teacher_image'. "
                f"Received: images.shape={tuple(images.shape)}"
            )
        if None not in (height, width) and tuple(images.shape[1:3]) != (height, width):
            images = _resized(ops.cast(images, "float32"), height, width)
        if keras.backend.is_int_dtype(self.model.inputs[0].dtype):
            # Keras would cut off what augmentation and resizing put behind the point.
            images = ops.clip(ops.round(ops.cast(images, "float32")), 0, 255)
        return images


def _resized(images, height, width):
    """Bilinear with antialiasing, which shrinking needs, as `ops.image.resize` does."""
    if None in images.shape[1:3]:
        return ops.image.resize(images, (height, width), antialias=True)
    # XLA has no kernel for that. Along each axis it is linear: a matrix does it.
    rows = _resampling(images.shape[1], height)
    columns = _resampling(images.shape[2], width)
    return ops.einsum("hi,bijc,wj->bhwc", rows, images, columns)


@functools.cache
def _resampling(size, wanted):
    """`(wanted, size)`: what resizing does to one axis, found on the unit vectors."""
    with tf.init_scope(), tf.device("CPU:0"):
        units = np.eye(size, dtype="float32")[..., None]
        resized = ops.image.resize(units, (wanted, size), antialias=True)
        return ops.convert_to_numpy(resized)[..., 0]
