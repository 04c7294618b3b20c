"""Batches of images with padded boxes: what an epoch holds, and that it repeats."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import BoxSet, ImageSet, box_batches
from keras_distill.layers import RandomBoxAffine

SIZE = (21, 33)
rng = np.random.default_rng(0)


def some_boxes(count=7):
    """Image i is filled with i, and has i % 4 boxes of class i % 3."""
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    images = np.broadcast_to(images, (count, *SIZE, 3)).copy()
    boxes = [[[n, 1, n + 8, 9.5] for n in range(row % 4)] for row in range(count)]
    labels = [[row % 3] * (row % 4) for row in range(count)]
    image_set = ImageSet(images, np.zeros(count), ["image"], name="test")
    return BoxSet(image_set, boxes, labels, ["a", "b", "c"])


def arrays(dataset):
    return [
        (images, targets["boxes"], targets["labels"], targets["mask"])
        for images, targets in dataset.as_numpy_iterator()
    ]


def test_every_image_comes_with_its_own_boxes_once_an_epoch():
    boxes = some_boxes(8)
    batches = box_batches(boxes, 2)
    assert int(batches.cardinality()) == 4
    seen = []
    for images, some, labels, mask in arrays(batches):
        assert images.dtype == some.dtype == np.float32 and labels.dtype == np.int32
        assert some.shape == (2, 3, 4) and labels.shape == mask.shape == (2, 3)
        for row in range(2):
            number = int(images[row, 0, 0, 0])
            assert (images[row] == number).all()
            count = number % 4
            assert mask[row].tolist() == [True] * count + [False] * (3 - count)
            np.testing.assert_allclose(some[row, :count], boxes.boxes[number])
            assert labels[row, :count].tolist() == [number % 3] * count
            assert (some[row, count:] == 0).all() and (labels[row, count:] == -1).all()
            seen.append(number)
    assert sorted(seen) == list(range(8))


def test_shapes_are_static():
    images, targets = box_batches(some_boxes(), 3, RandomBoxAffine()).element_spec
    assert images.shape == (3, *SIZE, 3)
    assert targets["boxes"].shape == (3, 3, 4) and targets["mask"].shape == (3, 3)


def test_an_epoch_is_a_function_of_seed_and_number():
    augment = RandomBoxAffine()
    batches = box_batches(some_boxes(), 3, augment, seed=4)
    first, second = arrays(batches), arrays(batches)
    assert any((a[0] != b[0]).any() for a, b in zip(first, second, strict=True))
    resumed = arrays(box_batches(some_boxes(), 3, augment, seed=4, first_epoch=1))
    for one, other in zip(second, resumed, strict=True):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)
    another = arrays(box_batches(some_boxes(), 3, augment, seed=5))
    assert any((a[0] != b[0]).any() for a, b in zip(first, another, strict=True))


def test_without_reshuffling_every_iteration_is_the_same_epoch():
    batches = box_batches(some_boxes(), 3, seed=4, first_epoch=1, reshuffle=False)
    wanted = arrays(box_batches(some_boxes(), 3, seed=4, first_epoch=1))
    for _ in range(2):
        for one, other in zip(arrays(batches), wanted, strict=True):
            for part, same in zip(one, other, strict=True):
                np.testing.assert_array_equal(part, same)


def test_images_that_fill_no_batch_have_their_turn():
    batches = box_batches(some_boxes(7), 3)
    seen = [
        int(image[0, 0, 0])
        for _ in range(6)
        for images, *_ in arrays(batches)
        for image in images
    ]
    assert len(seen) == 36 and set(seen) == set(range(7))


def test_augmented_boxes_keep_the_contract():
    moved = 0
    for images, boxes, labels, mask in arrays(
        box_batches(some_boxes(8), 4, RandomBoxAffine(scale=1.0, min_visible=0.9))
    ):
        assert images.shape == (4, *SIZE, 3)
        assert ((labels >= 0) == mask).all() and (boxes[~mask] == 0).all()
        assert (boxes[mask][:, :2] < boxes[mask][:, 2:]).all()
        assert (boxes >= 0).all() and (boxes[..., 2:] <= [33, 21]).all()
        moved += mask.sum()
    assert 0 < moved < sum(row % 4 for row in range(8))  # some were cut away


def test_a_strategy_shares_out_rows():
    strategy = tf.distribute.get_strategy()
    dataset = strategy.experimental_distribute_dataset(box_batches(some_boxes(), 2))
    assert sum(1 for _ in dataset) == 3


def test_a_set_without_any_box_has_padding_alone():
    boxes = some_boxes().subset([0, 4])
    (batch,) = arrays(box_batches(boxes, 2, RandomBoxAffine()))
    assert batch[1].shape == (2, 1, 4) and not batch[3].any()


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="between 1 and the 7 images.*batch_size=8"):
        box_batches(some_boxes(), 8)
    with pytest.raises(ValueError, match="not be negative.*first_epoch=-1"):
        box_batches(some_boxes(), 2, first_epoch=-1)


@pytest.mark.parametrize(
    "boxes, labels, message",
    [
        ([[[0, 0, 4, 4]]], [[3]], r"in \[0, 2\).*image='images/0', label=3"),
        ([[[0, 0, 4, 4]]], [[0, 1]], "must have a label.*1 boxes, 2 labels"),
        ([[[4, 0, 4, 4]]], [[0]], "with an area.*33 x 21.*box="),
        ([[[0, 0, 34, 4]]], [[0]], "within the image.*box="),
        ([[[0, 0, np.inf, 4]]], [[0]], "within the image.*box="),
        ([], [], "must be as many.*1 images"),
    ],
)
def test_a_set_refuses_what_does_not_fit(boxes, labels, message):
    images = ImageSet(np.zeros((1, *SIZE, 3), np.uint8), [0])
    with pytest.raises(ValueError, match=message):
        BoxSet(images, boxes, labels, ["a", "b"])
    with pytest.raises(ValueError, match="Class names must all be different"):
        BoxSet(images, [[]], [[]], ["a", "a"])
