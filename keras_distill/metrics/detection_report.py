"""Average precision of detections as COCO measures it."""

import collections
import contextlib
import io

import numpy as np

LIMIT = 100  # Detections an image that count, the best first.


def detection_report(boxes, labels, detections, class_names, ignored=None, scales=None):
    """AP and AR by pycocotools, over all classes and sizes and for each.

    A detection is right if it overlaps a box of its class, found by no better one, by
    an IoU of the threshold or more. Precision is averaged over 101 values of recall,
    over the classes that occur and, for AP, over the thresholds 0.50, 0.55, ..., 0.95.
    Detections on an ignored box count neither way. Lin et al., ECCV 2014,
    https://cocodataset.org/#detection-eval.

    Args:
        boxes: N arrays `(n, 4)`, x1 y1 x2 y2 in pixels: what there is.
        labels: N arrays `(n,)` of integers in [0, len(class_names)).
        detections: Dictionary of `"boxes"` `(N, D, 4)`, `"scores"` `(N, D)` and
            `"labels"` `(N, D)`; where a label is -1 there is no detection.
        class_names: Strings.
        ignored: N arrays `(n,)` of booleans. Defaults to none.
        scales: `(N, 2)`; boxes and detections are divided by them, so that sizes are
            those of the original images. Defaults to 1.

    Returns:
        Dictionary of floats in [0, 1], higher is better: `ap`, `ap50`, `ap75`;
        `ap_small`, `ap_medium`, `ap_large` of boxes of less than 32^2, up to 96^2 and
        more pixels; `ar`, the recall at 100 detections an image, averaged as AP; and
        under `classes`, from each class name to a dictionary of `ap`, `ap50` and
        `boxes`, their number. What there are no boxes for is NaN.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If sizes do not agree or a detection has a label out of range.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError(
            "Average precision needs pycocotools: pip install 'keras_distill[detect]'"
        ) from error
    found = _checked(boxes, labels, detections, class_names)
    if ignored is None:
        ignored = [np.zeros(len(some), bool) for some in labels]
    scales = np.ones((len(boxes), 2)) if scales is None else np.asarray(scales)
    truth = {
        "info": {},
        "images": [{"id": row} for row in range(len(boxes))],
        "categories": [{"id": k, "name": n} for k, n in enumerate(class_names)],
        "annotations": _annotations(boxes, labels, ignored, scales),
    }
    results = _results(found, scales)
    with contextlib.redirect_stdout(io.StringIO()):  # It tells of every step.
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        # It takes no empty list, so that of no detections one is made that is nothing.
        evaluation = COCOeval(coco, coco.loadRes(results or [_NOTHING]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    precision = _measured(evaluation.eval["precision"])  # (T, R, K, A, M)
    recall = _measured(evaluation.eval["recall"])  # (T, K, A, M)
    counts = collections.Counter(
        one["category_id"] for one in truth["annotations"] if not one["iscrowd"]
    )
    return {
        "ap": _mean(precision[:, :, :, 0, -1]),
        "ap50": _mean(precision[0, :, :, 0, -1]),
        "ap75": _mean(precision[5, :, :, 0, -1]),
        "ap_small": _mean(precision[:, :, :, 1, -1]),
        "ap_medium": _mean(precision[:, :, :, 2, -1]),
        "ap_large": _mean(precision[:, :, :, 3, -1]),
        "ar": _mean(recall[:, :, 0, -1]),
        "classes": {
            name: {
                "ap": _mean(precision[:, :, k, 0, -1]),
                "ap50": _mean(precision[0, :, k, 0, -1]),
                "boxes": counts[k],
            }
            for k, name in enumerate(class_names)
        },
    }


_NOTHING = {
    "image_id": 0,
    "category_id": -1,
    "bbox": [0.0, 0.0, 1.0, 1.0],
    "score": 0.0,
}


def _checked(boxes, labels, detections, class_names):
    found = {k: np.asarray(detections[k]) for k in ("boxes", "scores", "labels")}
    count, most = found["scores"].shape
    if not (
        len(boxes) == len(labels) == count
        and found["boxes"].shape == (count, most, 4)
        and found["labels"].shape == (count, most)
    ):
        raise ValueError(
            "Boxes, labels and detections must be of the same images. Received: "
            f"{len(boxes)} boxes, {len(labels)} labels, detections of shapes "
            f"{ ({k: v.shape for k, v in found.items()}) }"
        )
    if count == 0:
        raise ValueError("There must be an image to measure. Received: 0 images")
    high = found["labels"].max(initial=-1)
    if high >= len(class_names):
        raise ValueError(
            f"Detections must have labels below {len(class_names)}, the number of "
            f"classes. Received: label={high}"
        )
    return found


def _annotations(boxes, labels, ignored, scales):
    annotations = []
    for row, (some, own, skip) in enumerate(zip(boxes, labels, ignored, strict=True)):
        some = np.asarray(some, np.float64).reshape(-1, 4) / np.tile(scales[row], 2)
        for box, label, crowd in zip(some, own, skip, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would count as not matched
                    "image_id": row,
                    "category_id": int(label),
                    "bbox": _corner_and_sides(box),
                    "area": float(np.prod(box[2:] - box[:2])),
                    "iscrowd": int(crowd),
                }
            )
    return annotations


def _results(found, scales):
    results = []
    for row, place in zip(*np.nonzero(found["labels"] >= 0), strict=True):
        box = found["boxes"][row, place].astype(np.float64) / np.tile(scales[row], 2)
        results.append(
            {
                "image_id": int(row),
                "category_id": int(found["labels"][row, place]),
                "bbox": _corner_and_sides(box),
                "score": float(found["scores"][row, place]),
            }
        )
    return results


def _corner_and_sides(box):
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


def _measured(figures):
    """-1 stands for what there are no boxes for."""
    return np.where(figures < 0, np.nan, figures)


def _mean(figures):
    known = figures[~np.isnan(figures)]
    return float(known.mean()) if known.size else float("nan")
