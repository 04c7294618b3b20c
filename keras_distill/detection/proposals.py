"""The boxes that a region proposal network finds worth a second look."""

import keras
from keras import ops

from keras_distill.detection.boxes import clip, decode
from keras_distill.detection.suppression import suppress
from keras_distill.device.anchors import RATIOS, anchors


@keras.saving.register_keras_serializable(package="keras_distill")
class Proposals(keras.layers.Layer):
    """Decodes anchors, and keeps the best of each level that do not overlap.

    Ren et al., NeurIPS 2015, https://arxiv.org/abs/1506.01497. Without gradient.

    Args:
        image_shape: `(height, width, channels)`.
        strides: Dictionary from the names of the levels to their strides.
        anchor_size: Float, side of the square anchor in strides.
        ratios: Floats, heights of the anchors to their widths.
        per_level: Positive integer, the best of each level that are looked at.
        count: Positive integer R, proposals of an image.
        overlap: Float; of two proposals with a higher IoU the better stays.
        seed: Integer or None, of the random numbers that training draws.
        **kwargs: See `keras.layers.Layer`.

    Attributes:
        anchors: Dictionary of float32 arrays `(A, 4)`, see `anchors`.
        generator: `keras.random.SeedGenerator`, saved with the model.

    Call arguments:
        logits: `(B, all A)`, of all levels in order: whether there is something.
        deltas: `(B, all A, 4)`, see `decode`.

    Returns:
        float32 `(B, R, 4)`, the best first; places left over are boxes of zeros.
    """

    def __init__(
        self,
        image_shape,
        strides,
        anchor_size=8.0,
        ratios=RATIOS,
        per_level=256,
        count=100,
        overlap=0.7,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_shape, self.strides = tuple(image_shape), dict(strides)
        self.anchor_size, self.ratios = anchor_size, tuple(ratios)
        self.per_level, self.count, self.overlap = per_level, count, overlap
        self.seed = seed
        self.anchors = anchors(
            self.image_shape, self.strides, anchor_size, ratios=self.ratios
        )
        self.generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # XLA cannot compile the suppression.

    def call(self, logits, deltas):
        logits = ops.stop_gradient(ops.cast(logits, "float32"))
        deltas = ops.stop_gradient(ops.cast(deltas, "float32"))
        height, width = self.image_shape[:2]
        boxes, scores, begin = [], [], 0
        for own in self.anchors.values():
            end = begin + len(own)
            best, places = ops.top_k(
                logits[:, begin:end], min(self.per_level, len(own))
            )
            moved = ops.take_along_axis(deltas[:, begin:end], places[..., None], axis=1)
            found = clip(decode(moved, ops.take(own, places, axis=0)), height, width)
            # What has no pixel is nothing to look at.
            large = ops.all(found[..., 2:] - found[..., :2] >= 1, axis=-1)
            scores.append(ops.where(large, ops.sigmoid(best), 0.0))
            boxes.append(found)
            begin = end
        boxes, scores = (ops.concatenate(parts, axis=1) for parts in (boxes, scores))
        kept = suppress(
            boxes,
            scores[..., None],
            self.overlap,
            least=0.0,
            limit=self.count,
            candidates=boxes.shape[1],
        )
        return kept["boxes"]

    def compute_output_shape(self, logits_shape, deltas_shape):
        return (logits_shape[0], self.count, 4)

    def get_config(self):
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "strides": dict(self.strides),
            "anchor_size": self.anchor_size,
            "ratios": self.ratios,
            "per_level": self.per_level,
            "count": self.count,
            "overlap": self.overlap,
            "seed": self.seed,
        }
