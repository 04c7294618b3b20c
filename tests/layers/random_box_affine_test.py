"""Boxes go where their pixels go."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.layers import RandomBoxAffine

rng = np.random.default_rng(0)
SIZE = (37, 53)  # odd, and not square


def drawn(boxes, value=200.0):
    """An image with a rectangle of `value` on each box, on 0."""
    image = np.zeros((*SIZE, 1), np.float32)
    for x1, y1, x2, y2 in np.round(boxes).astype(int):
        image[y1:y2, x1:x2] = value
    return image


def draws(count=1, **given):
    order = ["horizontal", "vertical", "scale", "across", "down"]
    row = [given.get(name, 1.0 if "al" in name[-2:] else 0.0) for name in order]
    return np.tile(np.float32(row), (count, 1))


def one(layer, boxes, **given):
    """Image, boxes and mask of one image moved by given numbers."""
    image = drawn(boxes)[None]
    moved = layer(
        image,
        np.float32([boxes]),
        np.ones((1, len(boxes)), bool),
        training=True,
        draws=draws(**given),
    )
    return [np.asarray(part)[0] for part in moved]


BOXES = [[4, 3, 20, 11], [30, 20, 52, 36]]


def extent(image):
    """The corners of what is brighter than half, as a box."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_without_training_everything_passes_through():
    layer = RandomBoxAffine()
    images = rng.integers(0, 255, (2, *SIZE, 3), np.uint8)
    boxes, mask = np.float32([BOXES] * 2), np.array([[True, False]] * 2)
    got = layer(images, boxes, mask)
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], boxes)
    np.testing.assert_array_equal(got[2], mask)


def test_mirroring_is_exact():
    layer = RandomBoxAffine(vertical=True, scale=0.0)
    image, boxes, _ = one(layer, BOXES, horizontal=-1, vertical=1)
    np.testing.assert_allclose(image, drawn(BOXES)[:, ::-1], atol=1e-2)
    np.testing.assert_allclose(boxes[0], [53 - 20, 3, 53 - 4, 11], atol=1e-4)
    image, boxes, _ = one(layer, BOXES, horizontal=1, vertical=-1)
    np.testing.assert_allclose(image, drawn(BOXES)[::-1], atol=1e-2)
    np.testing.assert_allclose(boxes[0], [4, 37 - 11, 20, 37 - 3], atol=1e-4)


def test_what_is_switched_off_is_not_mirrored():
    layer = RandomBoxAffine(horizontal=False, vertical=False, scale=0.0)
    image, boxes, mask = one(layer, BOXES, horizontal=-1, vertical=-1)
    np.testing.assert_allclose(image, drawn(BOXES), atol=1e-2)
    np.testing.assert_allclose(boxes, BOXES, atol=1e-4)
    assert mask.all()


@pytest.mark.parametrize("scale", [-1.0, -0.4, 0.3, 1.0])
@pytest.mark.parametrize("place", [(-1.0, -1.0), (0.3, -0.6), (1.0, 1.0)])
@pytest.mark.parametrize("mirror", [-1.0, 1.0])
def test_boxes_go_where_their_pixels_go(scale, place, mirror):
    box = [[14, 9, 31, 24]]
    layer = RandomBoxAffine(vertical=True, scale=0.5, fill_value=0.0)
    image, boxes, mask = one(
        layer,
        box,
        horizontal=mirror,
        vertical=mirror,
        scale=scale,
        across=place[0],
        down=place[1],
    )
    assert mask.all()
    # Half of the brightness lies within half a pixel of the edge of the rectangle.
    np.testing.assert_allclose(extent(image), boxes[0], atol=0.75)


def test_sizes_change_by_the_factor_and_places_are_the_corners():
    layer = RandomBoxAffine(horizontal=False, scale=0.25)
    box = [[20, 10, 30, 20]]
    # Grown by 1.25 the frame shows four fifths, at place 1 the last of them.
    _, large, _ = one(layer, box, scale=1.0, across=1.0, down=1.0)
    np.testing.assert_allclose(large[0], [25 - 13.25, 12.5 - 9.25, 37.5 - 13.25, 15.75])
    _, small, _ = one(layer, box, scale=-1.0, across=-1.0, down=-1.0)
    np.testing.assert_allclose(small[0], [16, 8, 24, 16], atol=1e-4)
    _, right, _ = one(layer, box, scale=-1.0, across=1.0, down=1.0)
    np.testing.assert_allclose(
        right[0], [16 + 10.6, 8 + 7.4, 24 + 10.6, 16 + 7.4], atol=1e-4
    )


def test_outside_is_filled():
    layer = RandomBoxAffine(horizontal=False, scale=1.0, fill_value=77.0)
    image, _, _ = one(layer, BOXES, scale=-1.0, across=-1.0, down=-1.0)
    assert (image[19:] == 77).all() and (image[:, 28:] == 77).all()
    assert image[:18, :26].max() > 150


def test_boxes_of_which_too_little_is_left_go():
    layer = RandomBoxAffine(horizontal=False, scale=1.0, min_visible=0.3)
    # Twice as large, the left and upper half in the frame: 53 of 2 * 53 pixels.
    given = [[0, 0, 9, 9], [16, 0, 36, 10], [24, 0, 44, 10], [40, 0, 50, 9]]
    _, boxes, mask = one(layer, given, scale=1.0, across=-1.0, down=-1.0)
    assert mask.tolist() == [True, True, False, False]
    np.testing.assert_allclose(boxes[1], [32, 0, 53, 20], atol=1e-4)
    assert (boxes[2:] == 0).all()


def test_padding_stays_padding():
    layer = RandomBoxAffine()
    boxes = np.zeros((1, 3, 4), np.float32)
    got = layer(drawn(BOXES)[None], boxes, np.zeros((1, 3), bool), training=True)
    assert not np.asarray(got[2]).any() and (np.asarray(got[1]) == 0).all()


def test_the_layer_draws_for_each_image_and_repeats_with_its_seed():
    images = np.repeat(drawn(BOXES)[None], 4, 0)
    boxes, mask = np.float32([BOXES] * 4), np.ones((4, 2), bool)
    first, again = (
        [
            np.asarray(p)
            for p in RandomBoxAffine(seed=s)(images, boxes, mask, training=True)
        ]
        for s in (5, 5)
    )
    for one_part, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one_part, other)
    assert np.ptp(first[1], axis=0).max() > 1


def test_it_runs_in_a_pipeline_of_unknown_batch_size():
    layer = RandomBoxAffine(min_visible=0.0)
    boxes, mask = np.float32([BOXES] * 5), np.ones((5, 2), bool)
    images = np.repeat(drawn(BOXES)[None], 5, 0)
    dataset = tf.data.Dataset.from_tensor_slices((images, boxes, mask)).batch(2)
    dataset = dataset.map(lambda i, b, m: layer(i, b, m, training=True))
    sizes = [tuple(part.shape for part in some) for some in dataset]
    assert [shapes[0][0] for shapes in sizes] == [2, 2, 1]
    assert all(shapes[0][1:] == (*SIZE, 1) for shapes in sizes)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`scale` must be.*scale=-1"):
        RandomBoxAffine(scale=-1)
    with pytest.raises(ValueError, match="`min_visible` must lie.*min_visible=2"):
        RandomBoxAffine(min_visible=2)
    with pytest.raises(ValueError, match=r"Images must have shape.*\(8, 8, 3\)"):
        RandomBoxAffine()(np.zeros((8, 8, 3)), np.zeros((1, 1, 4)), np.ones((1, 1)))
    assert keras.saving.get_registered_name(RandomBoxAffine).startswith("keras_distill")
