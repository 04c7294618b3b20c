"""Small detectors and pictures that they can learn: bright squares, dark bars."""

import numpy as np

from keras_distill import models
from keras_distill.data import BoxSet, ImageSet

SHAPE = (64, 96, 3)


def pyramid(width=16, **options):
    return models.pyramid(SHAPE, (8, 16, 16, 16), width=width, **options)


def retinanet(**options):
    options = {"head_width": 16, "head_convs": 1, "anchor_size": 2.0, **options}
    return models.RetinaNet(pyramid(), 2, **options)


def faster_rcnn(**options):
    options = {"head_width": 32, "proposals": 30, "sampled": 24, **options}
    return models.FasterRCNN(pyramid(), 2, anchor_size=3.0, seed=0, **options)


def pictures(count, seed=0):
    """A `BoxSet` of grey images with up to two squares and bars; some have none."""
    rng = np.random.default_rng(seed)
    images = rng.integers(110, 145, (count, *SHAPE), np.uint8)
    boxes, labels = [], []
    for image in images:
        own, classes = [], []
        for left in (0, 48)[: rng.integers(0, 3)]:
            label = int(rng.integers(2))
            size = rng.integers(16, 28) * np.array([1.0, 1.0 if label == 0 else 0.6])
            x, y = rng.integers(1, [48 - 29, 64 - 29]) + [left, 0]
            x2, y2 = x + int(size[0]), y + int(size[1])
            image[y:y2, x:x2] = 250 if label == 0 else 10
            own.append([x, y, x2, y2])
            classes.append(label)
        boxes.append(own)
        labels.append(classes)
    image_set = ImageSet(images, np.zeros(count), ["image"], name="pictures")
    return BoxSet(image_set, boxes, labels, ["square", "bar"])


def targets(boxes, rows):
    """Targets of some images, as `box_batches` has them."""
    return {name: values[rows] for name, values in boxes.padded().items()}


def images(boxes, rows):
    return boxes.images.read(rows).astype(np.float32)
