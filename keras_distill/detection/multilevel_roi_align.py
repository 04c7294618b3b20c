"""RoIAlign on the map of a pyramid that fits the size of a box."""

import math

import keras
from keras import ops

from keras_distill.detection.roi_align import sampled, sampling_matrices


@keras.saving.register_keras_serializable(package="keras_distill")
class MultilevelRoIAlign(keras.layers.Layer):
    """Takes each box from one level, the coarser the larger the box.

    Lin et al., CVPR 2017, https://arxiv.org/abs/1612.03144, equation 1: boxes of a
    side (root of the area) below `canonical_size` belong to the finest level, below
    twice that to the next, and so on; all above to the coarsest.

    Args:
        strides: Dictionary from the names of the levels, finest first, to their
            strides in pixels; each twice the one before.
        canonical_size: Pixels, see above. The paper has 112 for stride 4 and images of
            some 800 pixels; defaults to 14 strides of the finest level, two cells a
            bin.
        size: Bins along each side.
        samples: Points along each side of a bin.
        **kwargs: See `keras.layers.Layer`.

    Call arguments:
        maps: Dictionary with a map `(B, h, w, C)` of each of these levels.
        boxes: `(B, R, 4)`, x1 y1 x2 y2 in pixels.

    Returns:
        `(B, R, size, size, C)`. Boxes without area give the value of a point.

    Raises:
        ValueError: If a number is not positive, or a stride not twice the one before.
    """

    def __init__(self, strides, canonical_size=None, size=7, samples=2, **kwargs):
        super().__init__(**kwargs)
        values = list(strides.values())
        doubled = all(b == 2 * a for a, b in zip(values, values[1:], strict=False))
        if not values or values[0] <= 0 or not doubled:
            raise ValueError(
                "`strides` must be positive, each twice the one before. "
                f"Received: strides={strides}"
            )
        canonical_size = 14 * values[0] if canonical_size is None else canonical_size
        if not 0 < canonical_size < math.inf or size < 1 or samples < 1:
            raise ValueError(
                "`canonical_size`, `size` and `samples` must be positive. "
                f"Received: {canonical_size=}, {size=}, {samples=}"
            )
        self.strides = dict(strides)
        self.canonical_size = canonical_size
        self.size, self.samples = size, samples

    def levels(self, boxes):
        """int32 `(B, R)`: the place of each box's level, 0 the finest.

        Args:
            boxes: `(B, R, 4)`.
        """
        boxes = ops.cast(boxes, "float32")
        sides = ops.maximum(boxes[..., 2:] - boxes[..., :2], 0)
        side = ops.sqrt(ops.prod(sides, axis=-1))
        bounds = [self.canonical_size * 2**n for n in range(len(self.strides) - 1)]
        above = [ops.cast(side >= bound, "int32") for bound in bounds]
        return sum(above, ops.zeros_like(ops.cast(side, "int32")))

    def call(self, maps, boxes):
        level = self.levels(boxes)
        total = 0.0
        for number, (name, stride) in enumerate(self.strides.items()):
            feature_map = ops.cast(maps[name], "float32")
            rows, columns = sampling_matrices(
                boxes, feature_map.shape[1:3], stride, self.size, self.samples, True
            )
            # A box of another level samples nothing here.
            own = ops.cast(level == number, "float32")[..., None, None]
            total += sampled(rows * own, feature_map, columns)
        return ops.cast(total, self.compute_dtype)

    def compute_output_shape(self, maps_shape, boxes_shape):
        channels = maps_shape[next(iter(self.strides))][-1]
        return (*boxes_shape[:2], self.size, self.size, channels)

    def get_config(self):
        return {
            **super().get_config(),
            "strides": dict(self.strides),
            "canonical_size": self.canonical_size,
            "size": self.size,
            "samples": self.samples,
        }
