"""The golden images of a detector: what it found at the export, and finds here."""

import numpy as np

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.detections import (
    detections,
    overlaps,
    padded,
    probabilities,
)
from keras_distill.device.golden_file import read_golden

HOLDS = "images of the bundle with outputs and detections"

# Of what suppresses a box, and takes its place, the least IoU may be a little lower.
_SLACK = 0.1


def golden_arrays(detector, images, threshold, anchors=100):
    """What `golden.npz` of a detector's bundle holds.

    Args:
        detector: A `Detector`.
        images: uint8 array `(N, height, width, channels)`.
        threshold: Float in [0, 1], from which score on something is found.
        anchors: Positive integer K, the anchors of an image whose outputs are kept:
            those with the highest scores.

    Returns:
        Dictionary of arrays: `images`; `anchors` int32 `(N, K)`, their places;
        `class_logits` `(N, K, classes)` and `box_deltas` `(N, K, 4)` float32, what the
        network gives for them; and what is found, best first: `boxes` `(N, D, 4)`,
        `scores` `(N, D)`, `labels` int32 `(N, D)`, -1 where there is no more.
    """
    arrays = {"anchors": [], "class_logits": [], "box_deltas": []}
    found = []
    for image in images:
        logits, deltas = detector.raw(image)
        best = np.argsort(-logits.max(axis=1), kind="stable")[:anchors]
        arrays["anchors"].append(best.astype(np.int32))
        arrays["class_logits"].append(logits[best])
        arrays["box_deltas"].append(deltas[best])
        found.append(_detections(detector, logits, deltas, threshold))
    arrays = {name: np.stack(values) for name, values in arrays.items()}
    return {"images": np.asarray(images), **arrays, **padded(found)}


def check_detector_golden(bundle, max_score_difference, max_offset_difference):
    """See `keras_distill.device.detector_bundle.DetectorBundle.check_golden`."""
    golden = read_golden(bundle, _check_shapes, HOLDS)
    threshold = bundle.manifest["decoding"]["threshold"]
    scores, offsets, sure, again = [], [], 0, 0
    for row, image in enumerate(golden["images"]):
        logits, deltas = bundle.detector.raw(image)
        best = golden["anchors"][row]
        expected = probabilities(golden["class_logits"][row])
        scores.append(np.abs(probabilities(logits[best]) - expected).max())
        offsets.append(np.abs(deltas[best] - golden["box_deltas"][row]).max())
        surely = (golden["labels"][row] >= 0) & (
            golden["scores"][row] > threshold + max_score_difference
        )
        boxes, _, labels = _detections(bundle.detector, logits, deltas, threshold)
        same = golden["labels"][row][surely][:, None] == labels
        near = overlaps(golden["boxes"][row][surely], boxes)
        # Where another box is the best of an object now, it suppressed the stored one.
        least = bundle.detector.options["overlap"] - _SLACK
        sure += int(surely.sum())
        again += int((same & (near >= least)).any(axis=1).sum())
    found = {
        "runtime": bundle.runtime.name,
        "runtime_version": bundle.runtime.version,
        "images": len(golden["images"]),
        "anchors": golden["anchors"].shape[1],
        "score_difference": float(np.max(scores)),
        "offset_difference": float(np.max(offsets)),
        "objects": sure,
        "found_again": again,
    }
    # Written so that a NaN is beyond the limit as well.
    if not (
        found["score_difference"] <= max_score_difference
        and found["offset_difference"] <= max_offset_difference
        and again == sure
    ):
        raise BundleError(
            "The golden images must give scores within "
            f"{max_score_difference} and offsets within {max_offset_difference} of the "
            "stored ones, and what was surely found must be found again. "
            f"Received: {found}"
        )
    return found


def _detections(detector, logits, deltas, threshold):
    options = {**detector.options, "least_score": threshold}
    size = detector.image_shape[:2]
    return detections(logits, deltas, detector.anchors, size, **options)


def _check_shapes(golden, bundle):
    (count, k), (_, most) = golden["anchors"].shape, golden["labels"].shape
    shapes = {
        "images": ("u", (count, *bundle.image_shape)),
        "anchors": ("i", (count, k)),
        "class_logits": ("f", (count, k, len(bundle.class_names))),
        "box_deltas": ("f", (count, k, 4)),
        "boxes": ("f", (count, most, 4)),
        "scores": ("f", (count, most)),
        "labels": ("i", (count, most)),
    }
    for name, (kind, shape) in shapes.items():
        if golden[name].shape != shape or golden[name].dtype.kind != kind:
            raise ValueError(f"{name} is {golden[name].dtype}{golden[name].shape}")
    places = golden["anchors"]
    if not count or not k or places.min() < 0:
        raise ValueError(f"there are no anchors: {places.shape}")
    if places.max() >= len(bundle.detector.anchors):
        raise ValueError(f"there is no anchor {places.max()}")
