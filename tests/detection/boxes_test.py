"""Boxes: overlaps and offsets by hand, by loops, and against Keras's own."""

import keras
import numpy as np

from keras_distill.detection import clip, decode, encode, iou

rng = np.random.default_rng(0)


def random_boxes(*shape):
    low = rng.uniform(0, 80, (*shape, 2))
    return np.concatenate([low, low + rng.uniform(1, 40, (*shape, 2))], -1)


def test_overlaps_by_hand():
    boxes = [[0, 0, 10, 10], [0, 0, 5, 10], [10, 0, 20, 10], [5, 5, 15, 15]]
    got = iou(np.array(boxes), np.array(boxes[:1]))
    np.testing.assert_allclose(got[:, 0], [1, 0.5, 0, 25 / 175], rtol=1e-6)


def test_overlaps_are_those_of_loops():
    boxes, others = random_boxes(3, 7), random_boxes(3, 5)
    got = iou(boxes, others)
    assert got.shape == (3, 7, 5)
    for b, n, m in np.ndindex(3, 7, 5):
        one, two = boxes[b, n], others[b, m]
        sides = np.minimum(one[2:], two[2:]) - np.maximum(one[:2], two[:2])
        both = np.prod(np.maximum(sides, 0))
        either = np.prod(one[2:] - one[:2]) + np.prod(two[2:] - two[:2]) - both
        np.testing.assert_allclose(got[b, n, m], both / either, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(iou(boxes[0], others)[1], iou(boxes[0], others[1]))


def test_boxes_without_area_overlap_nothing():
    point = np.array([[5.0, 5, 5, 5]])
    np.testing.assert_array_equal(
        iou(point, np.array([[0, 0, 10, 10], [5, 5, 5, 5]])), 0
    )


def test_offsets_are_those_of_keras():
    boxes, anchors = random_boxes(2, 9), random_boxes(9)
    for deviations in [(1.0,) * 4, (0.1, 0.1, 0.2, 0.2)]:
        expected = keras.utils.bounding_boxes.encode_box_to_deltas(
            anchors,
            boxes,
            anchor_format="xyxy",
            box_format="xyxy",
            encoding_format="center_xywh",
            variance=deviations,
            image_shape=(9, 9, 3),
        )
        got = encode(boxes, anchors, deviations)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_decoding_inverts_encoding():
    boxes, anchors = random_boxes(2, 9), random_boxes(9)
    again = decode(
        encode(boxes, anchors, (0.1, 0.1, 0.2, 0.2)), anchors, (0.1, 0.1, 0.2, 0.2)
    )
    np.testing.assert_allclose(again, boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(decode(np.zeros((9, 4)), anchors), anchors, rtol=1e-5)


def test_offsets_of_any_size_stay_finite():
    anchor = np.array([[0.0, 0, 10, 10]])
    assert np.isfinite(encode(np.zeros((1, 4)), anchor)).all()
    huge = np.asarray(decode(np.full((1, 4), 1e3), anchor))
    np.testing.assert_allclose(huge[0, 2:] - huge[0, :2], 625, rtol=1e-4)


def test_clipping_has_x_before_y():
    got = clip(np.array([[-5.0, -5, 500, 500], [50, 20, 60, 40]]), height=30, width=40)
    np.testing.assert_array_equal(got, [[0, 0, 40, 30], [40, 20, 40, 30]])
