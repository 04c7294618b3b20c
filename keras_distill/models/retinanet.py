"""RetinaNet: every cell of a pyramid says what lies in it and where exactly."""

import keras
import numpy as np
from keras import layers, ops

from keras_distill.detection import (
    IGNORED,
    POSITIVE,
    anchors,
    clip,
    decode,
    encode,
    match,
    sigmoid_focal,
    smooth_l1,
    suppress,
)
from keras_distill.device.anchors import RATIOS
from keras_distill.models.detector import Detector, at, checked_strides

SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
PRIOR = 0.01  # What a fresh network takes for the chance that an anchor is something.
RESCALE = (1 / 127.5, -1.0)  # Pixels to [-1, 1].


@keras.saving.register_keras_serializable(package="keras_distill")
class RetinaNet(Detector):
    """A one-stage detector on any pyramid.

    Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002. The focal loss is summed
    over anchors and classes, the loss of boxes (smooth L1, threshold 1/9, as in
    Detectron) over what is positive, and both are divided by the number of positive
    anchors of the batch, at least 1. Anchors are positive from an IoU of 0.5, negative
    below 0.4; every box has the anchors that overlap it most, at least, so that none
    is missed because it is small.

    The class head begins with the prior of the paper, the bias -log((1 - 0.01) /
    0.01), and the box head with 0. (keras_hub 0.32 has the two the other way round.)

    Args:
        pyramid: A functional `keras.Model` from images to a dictionary of maps
            `"P3"`, ... of one width: `models.pyramid`, or a
            `keras_hub.models.RetinaNetBackbone`.
        num_classes: Positive integer.
        head_width: Positive integer, channels of the convolutions of both heads.
        head_convs: Integer >= 0, convolutions of each head before its last.
        anchor_size: Float, side of the smallest square anchor in strides. The paper's
            4 is 32 pixels at P3.
        rescale: `(scale, offset)`, floats or lists of one for each channel: what
            makes pixels in [0, 255] the numbers that the pyramid takes.
        least_score: Float, see `detection.suppress`.
        overlap: Float, there.
        limit: Positive integer, there.
        name: Name of the model.

    Outputs of the network: `"class_logits"` `(batch, A, classes)`, `"box_deltas"`
    `(batch, A, 4)`, see `detection.decode`; anchors in the order of `anchors`.

    Logs: `class_loss`, `box_loss`.

    Attributes:
        anchors: float32 array `(A, 4)`, of all levels, finest first.

    Raises:
        ValueError: If a number is out of its range, or the maps are not a pyramid.

    Example:

    ```python
    pyramid = keras_distill.models.pyramid((256, 320, 3), width=32)
    student = keras_distill.models.RetinaNet(pyramid, 3, head_width=32, anchor_size=2)
    student.compile("adam")
    student.fit(batches)  # of data.box_batches
    ```
    """

    term_names = ("class_loss", "box_loss")

    def __init__(
        self,
        pyramid,
        num_classes,
        head_width=256,
        head_convs=4,
        anchor_size=4.0,
        rescale=RESCALE,
        least_score=0.05,
        overlap=0.5,
        limit=100,
        name="retinanet",
    ):
        if num_classes < 1 or head_width < 1 or head_convs < 0:
            raise ValueError(
                "`num_classes` and `head_width` must be positive, `head_convs` not "
                f"negative. Received: {num_classes=}, {head_width=}, {head_convs=}"
            )
        strides = checked_strides(pyramid)
        image_shape = tuple(pyramid.input_shape[1:])
        images = keras.Input(image_shape, name="image")
        scale, offset = rescale
        maps = pyramid(layers.Rescaling(scale, offset, name="rescale")(images))
        width = maps[next(iter(strides))].shape[-1]
        own = anchors(image_shape, strides, anchor_size, SCALES)
        count = len(SCALES) * len(RATIOS)
        heads = {
            "class_logits": _head(
                "class_head", width, head_width, head_convs, count * num_classes, PRIOR
            ),
            "box_deltas": _head("box_head", width, head_width, head_convs, count * 4),
        }
        outputs = {}
        for output, head in heads.items():
            size = num_classes if output == "class_logits" else 4
            parts = [
                layers.Reshape((-1, size), name=f"{output}_{level}")(head(maps[level]))
                for level in strides
            ]
            # Float32 whatever the policy: losses and decoding need it.
            joined = layers.Concatenate(axis=1, dtype="float32")
            parts = joined(parts) if len(parts) > 1 else parts[0]
            outputs[output] = layers.Identity(name=output, dtype="float32")(parts)
        super().__init__(images, outputs, num_classes, strides, name)
        self.pyramid = pyramid
        self.anchors = np.concatenate(list(own.values()))
        self.head_width, self.head_convs = head_width, head_convs
        self.anchor_size, self.rescale = anchor_size, rescale
        self.least_score, self.overlap, self.limit = least_score, overlap, limit

    def _matched(self, boxes, mask):
        return match(self.anchors, boxes, mask, 0.5, 0.4, force=True)

    def matched_boxes(self, boxes, labels):
        """Which box each anchor is to detect: whose soft labels it can learn.

        Args:
            boxes: `(batch, M, 4)`, x1 y1 x2 y2 in pixels.
            labels: `(batch, M)`, negative in padding.

        Returns:
            int32 `(batch, A)`: the place of the box among the M, -1 for none.
        """
        index, state = self._matched(boxes, ops.convert_to_tensor(labels) >= 0)
        return ops.where(state == POSITIVE, index, -1)

    def terms(self, targets, outputs):
        index, state = self._matched(targets["boxes"], targets["mask"])
        positive = ops.cast(state == POSITIVE, "float32")  # (B, A)
        labels = at(targets["labels"], index)
        truth = ops.one_hot(labels, self.num_classes) * positive[..., None]
        counted = ops.cast(state != IGNORED, "float32")
        focal = sigmoid_focal(outputs["class_logits"], truth)
        focal = ops.sum(ops.sum(focal, axis=-1) * counted, axis=-1)  # (B,)
        deltas = encode(at(targets["boxes"], index), self.anchors)
        error = smooth_l1(outputs["box_deltas"] - deltas, 1 / 9)
        error = ops.sum(ops.sum(error, axis=-1) * positive, axis=-1)
        # Their mean over images is the sum over the batch by its positives.
        images = ops.cast(ops.shape(positive)[0], "float32")
        share = images / ops.maximum(ops.sum(positive), 1.0)
        return {"class_loss": focal * share, "box_loss": error * share}

    def detections(self, outputs):
        height, width = self.image_shape[:2]
        found = decode(outputs["box_deltas"], self.anchors)
        return suppress(
            clip(found, height, width),
            ops.sigmoid(outputs["class_logits"]),
            self.overlap,
            self.least_score,
            self.limit,
        )

    def get_config(self):
        return {
            "name": self.name,
            "pyramid": keras.saving.serialize_keras_object(self.pyramid),
            "num_classes": self.num_classes,
            "head_width": self.head_width,
            "head_convs": self.head_convs,
            "anchor_size": self.anchor_size,
            "rescale": self.rescale,
            "least_score": self.least_score,
            "overlap": self.overlap,
            "limit": self.limit,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        pyramid = keras.saving.deserialize_keras_object(
            config["pyramid"], custom_objects
        )
        return cls(**{**config, "pyramid": pyramid})


def _head(name, width, head_width, convs, outputs, prior=None):
    """Convolutions that all levels share."""
    head = keras.Sequential([keras.Input((None, None, width))], name=name)
    for number in range(convs):
        head.add(
            layers.Conv2D(
                head_width,
                3,
                padding="same",
                activation="relu",
                kernel_initializer="he_normal",
                name=f"conv{number}",
            )
        )
    bias = 0.0 if prior is None else -np.log((1 - prior) / prior)
    head.add(
        layers.Conv2D(
            outputs,
            3,
            padding="same",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
            bias_initializer=keras.initializers.Constant(bias),
            name="last",
        )
    )
    return head
