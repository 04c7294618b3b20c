"""Faster R-CNN: a network proposes boxes, a second looks at each of them."""

import keras
import numpy as np
from keras import layers, ops

from keras_distill.detection import (
    IGNORED,
    POSITIVE,
    MultilevelRoIAlign,
    Proposals,
    clip,
    decode,
    encode,
    match,
    sample,
    sigmoid_focal,
    smooth_l1,
    suppress,
)
from keras_distill.device.anchors import RATIOS
from keras_distill.models.detector import Detector, at, checked_strides
from keras_distill.models.retinanet import RESCALE

DEVIATIONS = (0.1, 0.1, 0.2, 0.2)  # of the second stage, which has little to correct
ROI_LEVEL = 5  # The coarsest level that boxes are looked at on: beyond are proposals.


@keras.saving.register_keras_serializable(package="keras_distill")
class FasterRCNN(Detector):
    """A two-stage detector on any pyramid.

    Ren et al., NeurIPS 2015, https://arxiv.org/abs/1506.01497, on a feature pyramid
    (Lin et al., CVPR 2017, https://arxiv.org/abs/1612.03144):

    1. Of every cell of every map, three anchors are scored and moved
       (`detection.Proposals`). Learned from 256 anchors an image, at most half of them
       positive (IoU 0.7 or the best of its box; negative below 0.3).
    2. Features of the best proposals (`detection.MultilevelRoIAlign`) go through two
       dense layers to a softmax over the classes and the background, and to a box
       for each class. Learned from `sampled` proposals and true boxes an image, at most
       a quarter positive (IoU 0.5).

    Args:
        pyramid: As for `RetinaNet`. Levels above P5 are for proposals alone.
        num_classes: Positive integer.
        head_width: Positive integer, of the two dense layers of the second stage.
        anchor_size: Float, side of the square anchors in strides. The paper's 8 is 32
            pixels at P2.
        proposals: Positive integer, proposals of an image.
        sampled: Positive integer, what the second stage learns from of an image.
        canonical_size: See `detection.MultilevelRoIAlign`.
        rescale: As for `RetinaNet`.
        least_score: Float, see `detection.suppress`.
        overlap: Float, there.
        limit: Positive integer, there.
        seed: Integer or None, of what is sampled.
        name: Name of the model.

    Outputs of the network: the maps, as in the pyramid; `"rpn_logits"` `(batch, A)` and
    `"rpn_deltas"` `(batch, A, 4)`; `"proposals"` `(batch, R, 4)`, in pixels;
    `"class_logits"` `(batch, R, classes + 1)`, the background last; and `"box_deltas"`
    `(batch, R, classes, 4)`.

    Logs: `rpn_class_loss`, `rpn_box_loss`, `class_loss`, `box_loss`.

    Raises:
        ValueError: If a number is out of its range, or the maps are not a pyramid.
    """

    term_names = ("rpn_class_loss", "rpn_box_loss", "class_loss", "box_loss")

    def __init__(
        self,
        pyramid,
        num_classes,
        head_width=256,
        anchor_size=8.0,
        proposals=100,
        sampled=64,
        canonical_size=None,
        rescale=RESCALE,
        least_score=0.05,
        overlap=0.5,
        limit=100,
        seed=None,
        name="faster_rcnn",
    ):
        if min(num_classes, head_width, proposals, sampled) < 1:
            raise ValueError(
                "`num_classes`, `head_width`, `proposals` and `sampled` must be "
                f"positive. Received: {num_classes=}, {head_width=}, {proposals=}, "
                f"{sampled=}"
            )
        strides = checked_strides(pyramid)
        image_shape = tuple(pyramid.input_shape[1:])
        images = keras.Input(image_shape, name="image")
        scale, offset = rescale
        maps = pyramid(layers.Rescaling(scale, offset, name="rescale")(images))
        width = maps[next(iter(strides))].shape[-1]
        logits, deltas = _proposed(maps, strides, width)
        find = Proposals(
            image_shape,
            strides,
            anchor_size,
            count=proposals,
            seed=seed,
            name="proposals",
        )
        found = find(logits, deltas)
        fine = {k: s for k, s in strides.items() if s <= 2**ROI_LEVEL}
        align = MultilevelRoIAlign(fine, canonical_size, name="roi_align")
        head = _roi_head(width, align.size, head_width, num_classes)
        seen = head(align({level: maps[level] for level in fine}, found))
        outputs = {
            **{level: maps[level] for level in strides},
            "rpn_logits": logits,
            "rpn_deltas": deltas,
            "proposals": found,
            **seen,
        }
        super().__init__(images, outputs, num_classes, strides, name)
        self.pyramid = pyramid
        self.anchors = np.concatenate(list(find.anchors.values()))
        self.head_width, self.anchor_size = head_width, anchor_size
        self.proposals, self.sampled = proposals, sampled
        self.canonical_size, self.rescale = canonical_size, rescale
        self.least_score, self.overlap, self.limit = least_score, overlap, limit
        self.seed = seed

    def terms(self, targets, outputs):
        first = self._proposal_terms(targets, outputs)
        return {**first, **self._second_terms(targets, outputs)}

    def _proposal_terms(self, targets, outputs):
        """Both losses are divided by the anchors that are sampled in the batch."""
        index, state = match(
            self.anchors, targets["boxes"], targets["mask"], 0.7, 0.3, force=True
        )
        places, mask = sample(
            state, min(256, len(self.anchors)), 0.5, self._numbers(state)
        )
        counted, share = _shared(mask)
        positive = ops.cast(at(state, places) == POSITIVE, "float32") * counted
        # The focal loss without focus is half of the cross-entropy.
        logits = at(outputs["rpn_logits"], places)
        error = 2 * sigmoid_focal(logits, positive, alpha=0.5, gamma=0.0)
        own = ops.take(self.anchors, places, axis=0)
        wanted = encode(at(targets["boxes"], at(index, places)), own)
        moved = smooth_l1(at(outputs["rpn_deltas"], places) - wanted, 1 / 9)
        return {
            "rpn_class_loss": ops.sum(error * counted, axis=1) * share,
            "rpn_box_loss": ops.sum(ops.sum(moved, -1) * positive, axis=1) * share,
        }

    def _second_terms(self, targets, outputs):
        """Both losses are divided by the boxes that are sampled in the batch."""
        rois, index, positive, counted, share = self._sampled(targets, outputs)
        seen = self._second_look(outputs, rois)
        labels = at(targets["labels"], index)
        truth = ops.where(positive > 0, labels, self.num_classes)
        error = ops.sparse_categorical_crossentropy(
            truth, seen["class_logits"], from_logits=True
        )
        wanted = encode(at(targets["boxes"], index), _with_area(rois), DEVIATIONS)
        own = ops.one_hot(labels, self.num_classes)[..., None]  # of -1, nothing
        deltas = ops.sum(seen["box_deltas"] * own, axis=2)
        moved = ops.sum(smooth_l1(deltas - wanted), axis=-1)
        return {
            "class_loss": ops.sum(error * counted, axis=1) * share,
            "box_loss": ops.sum(moved * positive, axis=1) * share,
        }

    def classify(self, maps, boxes):
        """What the second stage takes given boxes for.

        Args:
            maps: Dictionary of the maps of the pyramid.
            boxes: `(batch, R, 4)`, x1 y1 x2 y2 in pixels.

        Returns:
            Logits `(batch, R, classes + 1)`, the background last.
        """
        return self._second_look(maps, boxes)["class_logits"]

    def _second_look(self, maps, rois):
        align, head = self.get_layer("roi_align"), self.get_layer("roi_head")
        return head(align({level: maps[level] for level in align.strides}, rois))

    def _sampled(self, targets, outputs):
        """Proposals and true boxes to learn from, `(B, sampled, ...)`."""
        truth = ops.cast(targets["boxes"], "float32")
        candidates = ops.concatenate([outputs["proposals"], truth], axis=1)
        there = ops.all(candidates[..., 2:] > candidates[..., :2], axis=-1)
        index, state = match(candidates, truth, targets["mask"], 0.5, 0.5)
        state = ops.where(there, state, IGNORED)  # padding of either
        count = min(self.sampled, candidates.shape[1])
        places, mask = sample(state, count, 0.25, self._numbers(state))
        counted, share = _shared(mask)
        positive = ops.cast(at(state, places) == POSITIVE, "float32") * counted
        rois = ops.stop_gradient(at(candidates, places))
        return rois, at(index, places), positive, counted, share

    def _numbers(self, like):
        generator = self.get_layer("proposals").generator
        return keras.random.uniform(ops.shape(like), seed=generator, dtype="float32")

    def detections(self, outputs):
        height, width = self.image_shape[:2]
        rois = outputs["proposals"]
        # One box for each class, all moved from the same proposal.
        from_rois = _with_area(rois)[:, :, None]
        found = decode(outputs["box_deltas"], from_rois, DEVIATIONS)
        there = ops.all(rois[..., 2:] > rois[..., :2], axis=-1, keepdims=True)
        scores = ops.softmax(outputs["class_logits"])[..., :-1]
        return suppress(
            clip(found, height, width),
            ops.where(there, scores, 0.0),
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
            "anchor_size": self.anchor_size,
            "proposals": self.proposals,
            "sampled": self.sampled,
            "canonical_size": self.canonical_size,
            "rescale": self.rescale,
            "least_score": self.least_score,
            "overlap": self.overlap,
            "limit": self.limit,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        pyramid = keras.saving.deserialize_keras_object(
            config["pyramid"], custom_objects
        )
        return cls(**{**config, "pyramid": pyramid})


def _proposed(maps, strides, width):
    """Whether there is something at each anchor, and where it is."""
    count = len(RATIOS)
    near = keras.initializers.RandomNormal(stddev=0.01)
    shared = layers.Conv2D(
        width,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name="rpn",
    )
    score = layers.Conv2D(count, 1, kernel_initializer=near, name="rpn_score")
    move = layers.Conv2D(4 * count, 1, kernel_initializer=near, name="rpn_move")
    logits, deltas = [], []
    for level in strides:
        x = shared(maps[level])
        logits.append(layers.Reshape((-1,), name=f"rpn_logits_{level}")(score(x)))
        deltas.append(layers.Reshape((-1, 4), name=f"rpn_deltas_{level}")(move(x)))
    parts = {"rpn_logits": logits, "rpn_deltas": deltas}
    return [
        layers.Concatenate(axis=1, name=name, dtype="float32")(some)
        for name, some in parts.items()
    ]


def _roi_head(width, size, head_width, num_classes):
    """Features of boxes `(B, R, size, size, width)` to classes and boxes."""
    near = keras.initializers.RandomNormal
    features = keras.Input((None, size, size, width))
    x = layers.Reshape((-1, size * size * width), name="flat")(features)
    for number in (1, 2):
        x = layers.Dense(
            head_width,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"dense{number}",
        )(x)
    logits = layers.Dense(
        num_classes + 1, kernel_initializer=near(stddev=0.01), name="score"
    )(x)
    deltas = layers.Dense(
        4 * num_classes, kernel_initializer=near(stddev=0.001), name="move"
    )(x)
    outputs = {
        "class_logits": layers.Activation("linear", dtype="float32")(logits),
        "box_deltas": layers.Reshape((-1, num_classes, 4), dtype="float32")(deltas),
    }
    return keras.Model(features, outputs, name="roi_head")


def _shared(mask):
    """What counts, and the factor that makes a mean over images of sums one over all
    that counts in the batch."""
    counted = ops.cast(mask, "float32")
    images = ops.cast(ops.shape(mask)[0], "float32")
    return counted, images / ops.maximum(ops.sum(counted), 1.0)


def _with_area(rois):
    """Padding becomes boxes of one pixel, from which offsets are finite."""
    low = rois[..., :2]
    return ops.concatenate([low, ops.maximum(rois[..., 2:], low + 1)], axis=-1)
