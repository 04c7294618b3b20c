"""What of the targets is learned from, what is padding, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.detection.targets import checked_targets

SHAPE = (48, 64, 3)  # 64 wide, 48 high


def targets(boxes, labels, mask=None):
    mask = np.ones(np.shape(labels), bool) if mask is None else mask
    return {
        "boxes": np.float32([boxes]),
        "labels": np.int32([labels]),
        "mask": np.reshape(mask, (1, -1)),
    }


def checked(*args):
    found = checked_targets(targets(*args), SHAPE, 2)
    return {name: np.asarray(values)[0].tolist() for name, values in found.items()}


def test_boxes_within_their_image_stay_as_they_are():
    boxes = [[0, 0, 64, 48], [5, 6, 7.5, 8]]
    found = checked(boxes, [1, 0])
    assert found == {"boxes": boxes, "labels": [1, 0], "mask": [True, True]}


def test_boxes_are_cut_off_at_the_edges_with_x_before_y():
    found = checked([[-5, -9, 70, 70], [50, 40, 90, 44]], [0, 1])
    assert found["boxes"] == [[0, 0, 64, 48], [50, 40, 64, 44]]
    assert found["mask"] == [True, True]


@pytest.mark.parametrize(
    "box",
    [
        [64, 5, 80, 9],  # right of the image
        [5, -20, 9, 0],  # above it
        [5, 5, 5, 9],  # no width
        [5, 9, 9, 9],  # no height
        [9, 9, 5, 5],  # corners the wrong way
        [5, np.nan, 9, 9],
    ],
)
def test_a_box_of_which_nothing_can_be_seen_is_padding(box):
    found = checked([[1, 2, 3, 4], box], [0, 1])
    assert found["boxes"] == [[1, 2, 3, 4], [0, 0, 0, 0]]
    assert found["labels"] == [0, -1] and found["mask"] == [True, False]


def test_what_the_mask_leaves_out_is_padding_whatever_stands_there():
    found = checked([[1, 2, 3, 4], [5, 6, 9, 9]], [1, 7], [True, False])
    assert found["boxes"][1] == [0, 0, 0, 0]
    assert found["labels"] == [1, -1] and found["mask"] == [True, False]


@pytest.mark.parametrize("label", [2, -1])
def test_a_label_that_is_no_class_is_refused(label):
    given = targets([[1, 2, 3, 4]] * 2, [0, label])
    said = r"Labels of boxes must lie in 0\.\.1: so many classes"
    with pytest.raises(ValueError, match=rf"{said}.*Received: labels=\[{label}\]"):
        checked_targets(given, SHAPE, 2)

    @tf.function
    def step(given):
        return checked_targets(given, SHAPE, 2)["labels"]

    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        step(given)
    given["mask"][0, 1] = False
    assert np.asarray(step(given)).tolist() == [[0, -1]]
