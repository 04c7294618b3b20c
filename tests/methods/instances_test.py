"""Boxes on feature maps: the authors' figures, loops, and boxes that fit nowhere."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.methods.global_knowledge import pool_instances
from keras_distill.methods.instances import (
    clip_boxes,
    foreground_mask,
    instance_levels,
    instances,
)

rng = np.random.default_rng(0)
MAP = rng.normal(size=(6, 8, 3)).astype("f4")


@pytest.mark.parametrize("level, stride", [(0, 8), (1, 16), (2, 32)])
@pytest.mark.parametrize("model", ["", "2"])
def test_pools_as_the_authors_code_does(reference, level, stride, model):
    r = reference("gk_roi_pool")
    pooled = pool_instances(r[f"feat{model}_{level}"][0], r["boxes_xyxy"], stride)
    expected = r[f"pooled{model}_{level}"]
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-5)


def test_a_box_is_the_mean_of_the_cells_it_touches_both_ends_included():
    boxes = np.array([[4, 10, 20, 31.9], [16, 16, 24, 24]], "f4")
    pooled = pool_instances(MAP, boxes, 8)
    by_hand = [MAP[1:4, 0:3].mean((0, 1)), MAP[2:4, 2:4].mean((0, 1))]
    np.testing.assert_allclose(pooled, by_hand, rtol=1e-6)


def test_images_of_a_batch_do_not_mix():
    maps = rng.normal(size=(3, 6, 8, 3)).astype("f4")
    boxes = rng.uniform(0, 48, (3, 5, 4)).astype("f4")
    boxes[..., 2:] = boxes[..., :2] + 9
    pooled = pool_instances(maps, boxes, 8)
    for i in range(3):
        alone = pool_instances(maps[i], boxes[i], 8)
        np.testing.assert_allclose(pooled[i], alone, rtol=1e-5)


@pytest.mark.parametrize(
    "box, cells",
    [
        ((64, 48, 64, 48), (slice(5, 6), slice(7, 8))),  # starts at the far corner
        ((500, 10, 900, 12), (slice(1, 2), slice(7, 8))),  # beyond the right edge
        ((-30, -30, -10, -10), (slice(0, 1), slice(0, 1))),
        ((-20, -9, 20, 12), (slice(0, 2), slice(0, 3))),
        ((0, 0, 1e30, 1e30), (slice(0, 6), slice(0, 8))),
        ((30, 20, 10, 4), (slice(2, 3), slice(3, 4))),  # inside out
    ],
)
def test_a_box_that_fits_nowhere_gets_the_cells_at_the_edge(box, cells):
    pooled = pool_instances(MAP, np.array([box], "f4"), 8)
    np.testing.assert_allclose(pooled[0], MAP[cells].mean((0, 1)), rtol=1e-5)


def test_the_gradient_goes_evenly_to_the_cells():
    x = tf.Variable(MAP)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(pool_instances(x, np.array([[0, 0, 15, 9]], "f4"), 8))
    expected = np.zeros_like(MAP)
    expected[:2, :2] = 1 / 4
    np.testing.assert_allclose(tape.gradient(total, x), expected)


def test_half_precision_maps_are_pooled_in_float32():
    big = np.full((40, 40, 1), 2049.0, "f2")
    pooled = pool_instances(big, np.array([[0, 0, 39, 39]], "f4"), 1)
    assert pooled.dtype == "float32"
    np.testing.assert_allclose(pooled, 2048.0)  # as the half said, and no overflow


@pytest.mark.parametrize("levels", [5, 4])
def test_levels_are_the_authors(reference, levels):
    r = reference("gk_levels")
    found = instance_levels(r["rois_xyxy"], levels)
    np.testing.assert_array_equal(found, r[f"levels_of_{levels}"])


def test_the_base_moves_the_levels_with_the_size_of_images():
    boxes = np.array([[0, 0, 55, 55], [0, 0, 223, 223], [0, 0, 1, 1]], "f4")
    np.testing.assert_array_equal(instance_levels(boxes, 5), [0, 2, 0])
    small = instance_levels(boxes / 4, 5, base=14.0, extent=0.25)
    np.testing.assert_array_equal(small, [0, 2, 0])
    np.testing.assert_array_equal(instance_levels(boxes, 5, extent=0.0), [0, 1, 0])


def test_inverted_and_empty_boxes_have_a_level_nonetheless():
    boxes = np.array([[9, 9, 2, 2], [0, 0, 0, 0]], "f4")
    np.testing.assert_array_equal(instance_levels(boxes, 3), [0, 0])


@pytest.mark.parametrize("level, stride", [(0, 16), (1, 32), (2, 64)])
def test_masks_are_the_authors(reference, level, stride):
    r = reference("gk_rdm_a")
    levels = np.array(instance_levels(r["boxes_xyxy"], 3))
    present = (r["labels"] >= 0) & (levels == level)
    expected = r[f"mask_{level}"][..., 0]
    mask = foreground_mask(
        r["boxes_xyxy"],
        r[f"robust_weights_{level}"],
        present,
        expected.shape[1:],
        stride,
    )
    np.testing.assert_allclose(mask, expected, rtol=1e-6)


def drawn(boxes, weights, present, grid, stride):
    """Box after box, as one would draw them."""
    masks = np.zeros((len(boxes), *grid))
    for mask, *image in zip(masks, boxes, weights, present, strict=True):
        for box, weight, there in zip(*image, strict=True):
            if not there:
                continue
            left, top, right, bottom = np.floor(box / stride).astype(int)
            left, top = max(left, 0), max(top, 0)
            right, bottom = min(right, grid[1]), min(bottom, grid[0])
            if left >= right or top >= bottom:
                cell = min(top, grid[0] - 1), min(left, grid[1] - 1)
                mask[cell] = max(mask[cell], weight)
            else:
                mask[top:bottom, left:right] = weight
    return masks


def test_masks_are_those_drawn_box_after_box():
    corners = rng.uniform(-10, 90, (20, 12, 2))
    sizes = rng.choice([0, 3, 20, 50], (20, 12, 2))
    boxes = np.concatenate([corners, corners + sizes], -1).astype("f4")
    weights = rng.uniform(-0.2, 1, (20, 12)).astype("f4")
    present = rng.uniform(size=(20, 12)) < 0.7
    mask = foreground_mask(boxes, weights, present, (9, 11), 8)
    expected = drawn(boxes, weights, present, (9, 11), 8)
    np.testing.assert_allclose(mask, expected, rtol=1e-6)


def test_the_mask_leaves_the_last_cell_out_that_pooling_takes_in():
    box = np.array([[[8, 8, 24, 24]]], "f4")
    mask = foreground_mask(box, np.ones((1, 1)), np.ones((1, 1), bool), (6, 8), 8)
    assert np.argwhere(mask[0]).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    pooled = pool_instances(MAP, box[0], 8)
    np.testing.assert_allclose(pooled[0], MAP[1:4, 1:4].mean((0, 1)), rtol=1e-5)


def test_a_later_box_overwrites_and_a_thin_one_only_raises():
    there = np.ones((1, 2), bool)
    whole, part = [0, 0, 48, 48], [16, 16, 32, 32]
    thin = [17, 17, 20, 40]
    boxes = np.array([[whole, part]], "f4")
    mask = foreground_mask(boxes, np.array([[0.9, 0.2]]), there, (6, 6), 8)
    assert mask[0, 2, 2] == np.float32(0.2) and mask[0, 1, 1] == np.float32(0.9)
    for weight, expected in [(0.2, 0.9), (1.0, 1.0)]:
        boxes = np.array([[whole, thin]], "f4")
        mask = foreground_mask(boxes, np.array([[0.9, weight]]), there, (6, 6), 8)
        assert mask[0, 2, 2] == np.float32(expected)
        assert mask[0, 3, 2] == np.float32(0.9)  # one cell, however tall the box
    boxes = np.array([[thin, whole]], "f4")
    mask = foreground_mask(boxes, np.array([[1.0, 0.3]]), there, (6, 6), 8)
    assert mask[0, 2, 2] == np.float32(0.3)


def test_what_is_an_instance():
    boxes = np.array(
        [[2, 2, 9, 9], [-9, -9, -2, -2], [70, 5, 90, 9], [60, 5, 90, 9], [5, 5, 5, 9]]
        + 4 * [[2, 2, 9, 9]]
    )
    clipped = clip_boxes(boxes, 48, 64)
    np.testing.assert_array_equal(clipped[3], [60, 5, 64, 9])
    labels = np.array([0, 0, 0, 0, 0, -1, 3, 2, 1])
    mask = np.array(8 * [True] + [False])
    there = instances(clipped, labels, 3, mask)
    expected = [True, False, False, True, False, False, False, True, False]
    np.testing.assert_array_equal(there, expected)
    assert bool(instances(clipped, labels, 3)[-1])


def test_xla_compiles_all_of_it():
    boxes = rng.uniform(0, 40, (2, 5, 4)).astype("f4")
    maps = rng.normal(size=(2, 6, 8, 3)).astype("f4")

    def both(maps, boxes):
        clipped = clip_boxes(boxes, 48, 64)
        present = instances(clipped, tf.zeros((2, 5), tf.int32), 1)
        level = instance_levels(clipped, 2)
        mask = foreground_mask(
            clipped, tf.ones((2, 5)), present & (level == 0), (6, 8), 8
        )
        return pool_instances(maps, boxes, 8), mask

    compiled = tf.function(both, jit_compile=True)(maps, boxes)
    for one, other in zip(compiled, both(maps, boxes), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "maps, boxes, stride, message",
    [
        (MAP, np.zeros((1, 2, 4)), 8, r"or both a batch.*boxes.shape=\(1, 2, 4\)"),
        (MAP[None], np.zeros((1, 2, 5)), 8, r"boxes.shape=\(1, 2, 5\)"),
        (MAP, np.zeros((2, 4)), 0, "positive and finite.*stride=0"),
    ],
)
def test_refuses_other_shapes(maps, boxes, stride, message):
    with pytest.raises(ValueError, match=message):
        pool_instances(maps, boxes, stride)


def test_refuses_a_map_of_unknown_size():
    traced = tf.function(lambda maps: pool_instances(maps, np.zeros((1, 2, 4)), 8))
    with pytest.raises(ValueError, match="known height.*None, None, 8, 3"):
        traced.get_concrete_function(tf.TensorSpec((None, None, 8, 3)))


@pytest.mark.parametrize("levels, base", [(0, 56.0), (2.5, 56.0), (3, 0.0)])
def test_refuses_no_levels(levels, base):
    with pytest.raises(ValueError, match="Received: (levels|base)="):
        instance_levels(np.zeros((1, 4)), levels, base)
