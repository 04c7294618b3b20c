"""A one-stage detector that takes a moment to trace, and a few images for it.

Its images are grey; each instance is a square, of class 0 where it is brighter than the
background and of class 1 where it is darker.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

SIZE = (32, 48)
STRIDES = {"P3": 8, "P4": 16}
ANCHORS = 4 * 6 + 2 * 3


class Levels(layers.Layer):
    """Gives a dictionary of maps, as the pyramid of a detector does."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.fine = layers.Conv2D(width, 8, strides=8, activation="tanh", name="fine")
        self.coarse = layers.Conv2D(width, 2, strides=2, name="coarse")

    def build(self, shape):
        self.fine.build(shape)
        self.coarse.build((*shape[:3], self.width))

    def call(self, images):
        fine = self.fine(images / 255)
        return {"P3": fine, "P4": self.coarse(fine)}

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="tests")
class TinyDetector(keras.Model):
    """Logits for two classes of each cell, and a loss that its class defines."""

    def __init__(self, width=4, size=SIZE, **kwargs):
        images = keras.Input((*size, 1))
        pyramid = Levels(width, name="fpn")(images)
        head = layers.Dense(2, name="head")
        flat = layers.Reshape((-1, width))
        cells = layers.Concatenate(1)([flat(pyramid[level]) for level in STRIDES])
        logits = layers.Activation("linear", dtype="float32", name="cls_logits")(
            head(cells)
        )
        super().__init__(images, {"logits": logits, "cells": cells}, **kwargs)
        self.width, self.size = width, tuple(size)
        self.tracker = keras.metrics.Mean(name="cell_loss")

    def matched_boxes(self, boxes, labels):
        """The last box that covers the centre of a cell."""
        centres = []
        for stride in STRIDES.values():
            y, x = np.mgrid[: self.size[0] // stride, : self.size[1] // stride] + 0.5
            centres.append(np.stack([x.ravel(), y.ravel()], -1) * stride)
        centres = np.concatenate(centres).astype("f4")[None, :, None]  # (1, A, 1, 2)
        boxes = boxes[:, None]  # (B, 1, M, 4)
        inside = ops.all((centres > boxes[..., :2]) & (centres < boxes[..., 2:]), -1)
        inside = ops.logical_and(inside, labels[:, None] >= 0)
        order = ops.arange(1, ops.shape(labels)[1] + 1, dtype="int32")
        return ops.max(ops.where(inside, order, 0), axis=-1) - 1

    def classify(self, pyramid, boxes):
        """Logits of boxes by the mean of the whole coarse map, as good as any."""
        rows = ops.mean(pyramid["P4"], axis=(1, 2))[:, None] + 0 * boxes[..., :1]
        return self.get_layer("head")(rows)

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        matches = self.matched_boxes(y["boxes"], y["labels"])
        labels = ops.take_along_axis(y["labels"], ops.maximum(matches, 0), axis=1)
        targets = ops.one_hot(ops.where(matches < 0, 2, labels), 3)[..., :2]
        losses = ops.binary_crossentropy(targets, y_pred["logits"], from_logits=True)
        loss = ops.mean(losses)
        self.tracker.update_state(loss, sample_weight=ops.shape(losses)[0])
        return loss + sum(self.losses)

    def get_config(self):
        return {"width": self.width, "size": self.size, "name": self.name}


def scenes(count=12, boxes=3, seed=0):
    """Images, and targets padded to `boxes`; one image has none."""
    rng = np.random.default_rng(seed)
    images = rng.normal(128, 5, (count, *SIZE, 1)).astype("f4")
    corners = np.zeros((count, boxes, 4), "f4")
    labels = np.full((count, boxes), -1, "i4")
    for image in range(1, count):
        for box in range(rng.integers(1, boxes + 1)):
            x, y = rng.integers(0, 32), rng.integers(0, 18)
            w, h = rng.integers(9, 16), rng.integers(9, 14)
            label = rng.integers(2)
            images[image, y : y + h, x : x + w] += 80 if label == 0 else -80
            corners[image, box] = x, y, x + w, y + h
            labels[image, box] = label
    return images, {"boxes": corners, "labels": labels}


def batches(count=12, size=4, **kwargs):
    return tf.data.Dataset.from_tensor_slices(scenes(count, **kwargs)).batch(size)
