"""Images with boxes through a detector, in order, and how good it is."""

import numpy as np

from keras_distill.metrics.detection_report import detection_report


def detect(detector, boxes, batch_size=8):
    """What a detector finds on the images of a data set.

    Args:
        detector: A model whose `predict_on_batch(images (B, H, W, 3))` gives `"boxes"`
            `(B, D, 4)`, `"scores"` `(B, D)` and `"labels"` `(B, D)`, -1 where there is
            no detection, as those of `keras_distill.models` do; or a `Distiller`,
            whose `student` is taken.
        boxes: A `data.BoxSet`.
        batch_size: Positive integer, images a step.

    Returns:
        The same dictionary as numpy arrays, for all images; boxes are in pixels of the
        images of the set.

    Raises:
        ValueError: If the detector takes images of another shape.
    """
    student = getattr(detector, "student", detector)
    shape = tuple(student.input_shape[1:])
    if shape != boxes.image_shape:
        raise ValueError(
            f"The images must have the shape that the detector takes, {shape}. "
            f"Received: image_shape={boxes.image_shape}"
        )
    found = []
    for start in range(0, len(boxes), batch_size):
        rows = np.arange(start, start + batch_size)
        count = min(len(boxes) - start, batch_size)
        # One shape, one trace; images do not touch each other in inference.
        images = boxes.images.read(np.minimum(rows, len(boxes) - 1))
        some = student.predict_on_batch(images.astype(np.float32))
        found.append({name: np.asarray(some[name])[:count] for name in _NAMES})
    return {name: np.concatenate([some[name] for some in found]) for name in _NAMES}


def detector_report(detector, boxes, batch_size=8):
    """`detection_report` of a detector on a data set, in pixels of the original files.

    Args:
        detector, boxes, batch_size: See `detect`.

    Returns:
        See `detection_report`.

    Raises:
        ImportError, ValueError: As `detect` and `detection_report`.
    """
    return detection_report(
        boxes.boxes,
        boxes.labels,
        detect(detector, boxes, batch_size),
        boxes.class_names,
        boxes.ignored,
        boxes.scales,
    )


_NAMES = ("boxes", "scores", "labels")
