"""Proof that a .tflite gives what the detector gives that it came from."""

import numpy as np

from keras_distill.device.detector import OUTPUTS, Detector
from keras_distill.tflite.convert_detector import DETECT_SIGNATURE, network_of
from keras_distill.tflite.from_keras import check_images, check_mode
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.structure import STRUCTURE_CHECKS, check_structure
from keras_distill.tflite.verification_error import VerificationError

# In the order they are made. What each holds is in `verify_detector`.
DETECTOR_CHECKS = (*STRUCTURE_CHECKS, "finite", "difference")
# Of each mode, the largest root mean square of the differences, by the deviation of
# what is differed from.
MAX_ERROR = {
    "float32": 1e-3,
    "float16": 2e-2,
    "dynamic": 0.1,
    "int8": 0.2,
    "int8-qat": 0.2,
}
BATCH = 8


def verify_detector(
    model,
    detector,
    images,
    mode="float32",
    reference=None,
    max_error=None,
    max_ratio=None,
    runtime=None,
):
    """Checks a converted detector, and measures how near it is to the Keras one.

    The checks of the graph are those of `keras_distill.tflite.verify`, with the
    signature of `convert_detector`. Then, over `images`:

    * `finite`: logits and offsets are numbers;
    * `difference`: they are near those of the detector: the root mean square of the
      differences is small beside the standard deviation of what the detector gives.

    What that costs in average precision says `retrieval.DetectionBudget`.

    Args:
        model: Bytes of the .tflite.
        detector: The `models.RetinaNet` that it was converted from.
        images: uint8 array `(count, height, width, channels)`, images that neither
            trained the detector nor calibrated the model.
        mode: One of `keras_distill.tflite.MODES`: what the model is meant to be.
        reference: Bytes of the float .tflite, to compare sizes with, or `None`.
        max_error: Largest such quotient. Defaults to 0.001 for float32, 0.02 for
            float16, 0.1 for dynamic and 0.2 for both modes of int8.
        max_ratio: Largest size as a part of `reference`'s, see `verify`.
        runtime: Interpreter to run it with, see `keras_distill.device.Detector`.

    Returns:
        Dictionary of what was measured: `bytes`, `operators` (`{name: version}`),
        `images`, `logit_error` and `offset_error`, the quotients.

    Raises:
        VerificationError: A `ValueError`; its `check` is one of `DETECTOR_CHECKS`.
        ValueError: If an argument is not as described.
    """
    check_mode(mode)
    images = check_images(images)
    detector = network_of(detector)
    graph = read_graph(model)
    count = len(detector.anchors)
    outputs = dict(
        zip(OUTPUTS, [(1, count, detector.num_classes), (1, count, 4)], strict=True)
    )
    check_structure(
        model, graph, detector, DETECT_SIGNATURE, outputs, mode, reference, max_ratio
    )
    device = Detector(model, detector.anchors, runtime)
    limit = MAX_ERROR[mode] if max_error is None else max_error
    errors = _errors(device, detector, images)
    if not max(errors) <= limit:
        raise VerificationError(
            "Logits and offsets may differ from the Keras ones by at most "
            f"{limit} of their standard deviation. Received: {errors[0]:.5f} and "
            f"{errors[1]:.5f} over {len(images)} images",
            "difference",
        )
    return {
        "bytes": len(model),
        "operators": graph.newest_versions(),
        "images": len(images),
        "logit_error": errors[0],
        "offset_error": errors[1],
    }


def _errors(device, detector, images):
    """Root mean square difference of each output, by its standard deviation."""
    squares, sums = np.zeros(2), np.zeros((2, 3))
    for start in range(0, len(images), BATCH):
        some = images[start : start + BATCH]
        given = detector(some.astype("float32"), training=False)
        found = [np.stack(rows) for rows in zip(*map(device.raw, some), strict=True)]
        for place, name in enumerate(OUTPUTS):
            expected = np.asarray(given[name], np.float64)
            if not np.isfinite(found[place]).all():
                raise VerificationError(
                    f"{name} must be finite. Received: NaN or infinity among those of "
                    f"images {start} to {start + len(some) - 1}",
                    "finite",
                )
            squares[place] += np.sum((found[place] - expected) ** 2)
            sums[place] += expected.size, expected.sum(), np.sum(expected**2)
    counts, totals, wholes = sums.T
    variances = wholes / counts - (totals / counts) ** 2
    errors = np.sqrt(squares / counts / np.maximum(variances, 1e-12))
    return [float(error) for error in errors]
