"""From a one-stage detector to the bytes of a .tflite that a phone runs."""

import keras

from keras_distill.tflite.from_keras import from_keras

DETECT_SIGNATURE = "detect"
_OUTPUTS = {"class_logits", "box_deltas"}


def convert_detector(detector, mode="float32", calibration=None):
    """Converts the network of a RetinaNet to TensorFlow Lite.

    The file has one signature, `detect(image: uint8[1, height, width, 3]) ->
    class_logits: float32[1, A, classes], box_deltas: float32[1, A, 4]`: raw outputs.
    What makes boxes of them has no TFLite operators of its own and runs beside it:
    `keras_distill.device.Detector` with `detector.anchors`. Preprocessing is inside.

    Args:
        detector: `models.RetinaNet`, or a `Distiller` with such a student. What else
            taught it (teacher, adapters, prototypes) is no part of it.
        mode: As for `convert`. In `"int8"` the trunk, the pyramid and the heads are in
            8 bits; only what joins the levels is float.
        calibration: As for `convert`: uint8 images `(count, height, width, 3)` as they
            are trained on, padded in the same way.

    Returns:
        Bytes. They are not checked.

    Raises:
        ValueError: If the network has other outputs than these (the proposals of
            Faster R-CNN are no TFLite operators), or as `convert`.
        TypeError: As `convert`.
    """
    detector = network_of(detector)
    return from_keras(detector, mode, calibration, DETECT_SIGNATURE, None)


def network_of(detector):
    """The detector to convert: `detector` or its student, checked for its outputs.

    Args:
        detector: See `convert_detector`.

    Raises:
        ValueError: If it has other outputs.
        TypeError: If it is no `keras.Model`.
    """
    detector = getattr(detector, "student", detector)
    if not isinstance(detector, keras.Model):
        raise TypeError(
            f"`detector` must be a keras.Model. Received: detector={detector!r}"
        )
    outputs = getattr(detector, "output", None)
    if not isinstance(outputs, dict) or set(outputs) != _OUTPUTS:
        raise ValueError(
            "`detector` must give class_logits and box_deltas alone, as a RetinaNet "
            f"does. Received: detector={detector.name!r} of type "
            f"{type(detector).__name__}"
        )
    return detector
