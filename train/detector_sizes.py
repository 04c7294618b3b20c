"""How large detectors are, by their role."""

import keras_distill as kd

# For objects of 15 pixels and more, and two CPU cores. The student has a tenth of the
# weights of the teacher.
PYRAMIDS = {
    "teacher": {"widths": (32, 64, 128, 192), "width": 96},
    "student": {"widths": (16, 32, 48, 64), "width": 32},
}
HEADS = {
    "retinanet": {
        "teacher": {"head_width": 96, "head_convs": 2, "anchor_size": 2.0},
        "student": {"head_width": 32, "head_convs": 2, "anchor_size": 2.0},
    },
    "faster_rcnn": {
        "teacher": {"head_width": 256, "anchor_size": 3.0},
        "student": {"head_width": 64, "anchor_size": 3.0},
    },
}
CLASSES = {"retinanet": "RetinaNet", "faster_rcnn": "FasterRCNN"}


def build(detector, role, image_shape, num_classes, seed):
    """A fresh detector.

    Args:
        detector: One of `HEADS`.
        role: One of `PYRAMIDS`.
        image_shape: `(height, width, channels)`.
        num_classes: Positive integer.
        seed: Integer, of what it samples while it is trained.
    """
    pyramid = kd.models.pyramid(image_shape, **PYRAMIDS[role])
    options = dict(HEADS[detector][role])
    if detector == "faster_rcnn":
        options["seed"] = seed
    made = getattr(kd.models, CLASSES[detector])
    return made(pyramid, num_classes, **options)
