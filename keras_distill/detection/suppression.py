"""Of boxes that find the same thing, the best."""

import tensorflow as tf
from keras import ops


def suppress(boxes, scores, overlap=0.5, least=0.05, limit=100, candidates=1000):
    """Greedy non-maximum suppression, class by class, to a fixed number of boxes.

    Args:
        boxes: `(B, N, 4)`, or `(B, N, C, 4)` with a box for each class.
        scores: `(B, N, C)` in [0, 1].
        overlap: Float; of two boxes of a class with a higher IoU the better stays.
        least: Float, scores below or at which nothing counts.
        limit: Positive integer D, boxes of an image at most, over all classes.
        candidates: Positive integer; only so many of the N are looked at, those with
            the highest score of any class.

    Returns:
        Dictionary of `"boxes"` float32 `(B, D, 4)`, `"scores"` float32 `(B, D)`, the
        best first, and `"labels"` int32 `(B, D)`. Places left over have zeros and the
        label -1.
    """
    boxes, scores = ops.cast(boxes, "float32"), ops.cast(scores, "float32")
    if scores.shape[1] is not None and scores.shape[1] > candidates:
        places = ops.top_k(ops.max(scores, axis=-1), candidates)[1]
        boxes = tf.gather(boxes, places, batch_dims=1)
        scores = tf.gather(scores, places, batch_dims=1)
    if len(boxes.shape) == 3:
        boxes = boxes[:, :, None]
    kept = tf.image.combined_non_max_suppression(
        boxes,
        scores,
        max_output_size_per_class=limit,
        max_total_size=limit,
        iou_threshold=overlap,
        score_threshold=least,
        clip_boxes=False,  # It would clip to [0, 1].
    )
    there = ops.arange(limit) < kept.valid_detections[:, None]
    labels = ops.cast(kept.nmsed_classes, "int32")
    return {
        "boxes": kept.nmsed_boxes,
        "scores": kept.nmsed_scores,
        "labels": ops.where(there, labels, -1),
    }
