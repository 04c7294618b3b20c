"""A frozen model, asked for its opinion of the student's images."""

import keras
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
            images = ops.cast(images, "float32")
            images = ops.image.resize(images, (height, width), antialias=True)
        if keras.backend.is_int_dtype(self.model.inputs[0].dtype):
            # Keras would cut off what augmentation and resizing put behind the point.
            images = ops.clip(ops.round(ops.cast(images, "float32")), 0, 255)
        return images
