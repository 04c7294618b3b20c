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
                where the teacher wants another resolution.

        Returns:
            Its output, and a dictionary from each path to that layer's output.
        """
        found = self._view(self._fit(images), training=False)
        found = keras.tree.map_structure(ops.stop_gradient, found)
        if not self.paths:
            return found, {}
        return found.pop(OUTPUT), found

    def _fit(self, images):
        wanted = getattr(self.model, "input_shape", None)
        if not isinstance(wanted, tuple) or len(wanted) != 4 or None in wanted[1:3]:
            return images
        if tuple(images.shape[1:3]) == wanted[1:3]:
            return images
        images = ops.cast(images, "float32")
        return ops.image.resize(images, wanted[1:3], antialias=True)
