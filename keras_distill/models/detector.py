"""What all detectors have in common: how they are trained and asked."""

import keras
import numpy as np
from keras import ops

from keras_distill.detection.targets import checked_targets
from keras_distill.traced_once import build_optimizer


class Detector(keras.Model):
    """Base of the detectors: functional models that know their loss.

    The network, from images to raw outputs, is a plain functional model: its inner
    layers can be read by name, and it is exported as it is. Its maps are what its layer
    `pyramid` puts out, a dictionary.

    `fit` takes batches of `data.box_batches`; compile it with an optimiser alone.
    `predict` gives detections: a dictionary of `"boxes"` `(batch, D, 4)`, x1 y1 x2 y2
    in pixels of the image, `"scores"` `(batch, D)`, the best first, and `"labels"`
    `(batch, D)`, -1 where there is no detection.

    A subclass defines `terms` and `detections`.

    Args:
        inputs: Symbolic images, see `keras.Model`.
        outputs: Dictionary of symbolic raw outputs.
        num_classes: Positive integer.
        strides: Dictionary, see below.
        name: Name of the model.

    Attributes:
        num_classes: Integer.
        pyramid: The model of the maps; its name is the path of the layer.
        strides: Dictionary from the name of each map, `"P3"`, to its stride in pixels.
        term_names: Tuple of strings, the summands of the loss, in the logs.
    """

    term_names = ()

    def __init__(self, inputs, outputs, num_classes, strides, name=None):
        super().__init__(inputs=inputs, outputs=outputs, name=name)
        self.supports_jit = False  # XLA cannot compile the suppression of `predict`.
        self.num_classes = num_classes
        self.strides = dict(strides)
        self._trackers = {
            term: keras.metrics.Mean(name=term) for term in self.term_names
        }

    @property
    def image_shape(self):
        """`(height, width, channels)` of the images that it takes."""
        return tuple(self.input_shape[1:])

    def terms(self, targets, outputs):
        """The summands of the loss.

        Args:
            targets: Dictionary of `"boxes"`, `"labels"` and `"mask"`, see
                `data.box_batches`, as `checked_targets` gives them.
            outputs: What the network makes of the images.

        Returns:
            Dictionary from each of `term_names` to float32 `(batch,)`, whose mean
            counts.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `terms`.")

    def detections(self, outputs):
        """What is found, see the class.

        Args:
            outputs: What the network makes of images.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `detections`.")

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The sum of the means of `terms`, and what layers add.

        `sample_weight` is `(batch,)`, of images.

        Raises:
            ValueError: If the targets lack boxes, labels or mask, or a label is no
                class, see `detection.targets.checked_targets`.
        """
        missing = {"boxes", "labels", "mask"} - set(y if isinstance(y, dict) else ())
        if missing:
            raise ValueError(
                "A detector learns from a dictionary of boxes, labels and mask, as "
                f"data.box_batches yields it. Received: targets without "
                f"{', '.join(sorted(missing))}"
            )
        targets = checked_targets(y, self.image_shape, self.num_classes)
        total = sum(ops.cast(loss, "float32") for loss in self.losses)
        for name, values in self.terms(targets, y_pred).items():
            if sample_weight is not None:
                values *= ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
            value = ops.mean(values)
            self._trackers[name].update_state(value, sample_weight=ops.shape(values)[0])
            total += value
        return total

    def make_train_function(self, force=False):
        build_optimizer(self)
        return super().make_train_function(force)

    def predict_step(self, data):
        images, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.detections(self(images, training=False))


def at(values, places):
    """Of `(B, A, ...)` what lies at `(B, N)` places: `(B, N, ...)`."""
    places = ops.reshape(places, (*ops.shape(places), *(1,) * (len(values.shape) - 2)))
    return ops.take_along_axis(values, places, axis=1)


def checked_strides(pyramid):
    """Strides of the maps of a pyramid by their names, finest first.

    It is asked once for maps: what keras_hub 0.32 says beforehand of the shapes of
    levels beyond P5 is wrong for images that are not square.

    Args:
        pyramid: A `keras.Model` from images of one size to a dictionary from `"P3"`,
            ... to maps; level n has stride 2^n.

    Raises:
        ValueError: If images may have any size, a map has another name, or not the
            size that its stride makes.
    """
    image_shape = tuple(pyramid.input_shape[1:])
    if len(image_shape) != 3 or None in image_shape:
        raise ValueError(
            "The pyramid must take images of one size, (height, width, channels). "
            f"Received: pyramid={pyramid.name!r}, which takes {image_shape}"
        )
    maps = pyramid(np.zeros((1, *image_shape), "float32"), training=False)
    strides = {}
    for name, feature_map in maps.items():
        digits = name[1:]
        if name[:1] != "P" or not digits.isdigit():
            raise ValueError(
                "The maps of a pyramid must be called P and their level, such as P3. "
                f"Received: {name!r}"
            )
        strides[name] = 2 ** int(digits)
        expected = tuple(-(-side // strides[name]) for side in image_shape[:2])
        if tuple(feature_map.shape[1:3]) != expected:
            raise ValueError(
                f"Map {name!r} of an image of {image_shape[:2]} must be of "
                f"{expected} cells. Received: {tuple(feature_map.shape[1:3])}"
            )
    return dict(sorted(strides.items(), key=lambda item: item[1]))
