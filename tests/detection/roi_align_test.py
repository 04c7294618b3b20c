"""RoIAlign against ONNX Runtime, inside a pyramid and at its edges."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.detection import MultilevelRoIAlign, roi_align


@pytest.mark.parametrize("aligned", [True, False])
def test_is_that_of_onnx_runtime(reference, aligned):
    figures = reference("gk_roialign")
    rois = figures["rois_bxyxy"]
    # All boxes on both images, of which each then has its own.
    boxes = np.tile(rois[None, :, 1:], (2, 1, 1))
    got = np.asarray(roi_align(figures["feat"], boxes, 8, aligned=aligned))
    expected = figures[f"out_aligned{int(aligned)}_sr2"]
    own = got[rois[:, 0].astype(int), np.arange(len(rois))]
    if expected.shape != own.shape:
        expected = np.moveaxis(expected, 1, -1)
    np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_a_linear_map_is_read_at_the_centres_of_the_bins():
    y, x = np.mgrid[:12, :16].astype(np.float32)
    feature_map = np.stack([(x + 0.5) * 4, (y + 0.5) * 4], -1)[None]  # in pixels
    box = np.float32([[[10, 8, 38, 36]]])
    got = np.asarray(roi_align(feature_map, box, 4))[0, 0]
    np.testing.assert_allclose(got[0, :, 0], 12 + 4 * np.arange(7), rtol=1e-5)
    np.testing.assert_allclose(got[:, 0, 1], 10 + 4 * np.arange(7), rtol=1e-5)


def test_boxes_without_area_are_finite_and_so_is_their_gradient():
    feature_map = tf.random.normal((1, 4, 4, 2))
    with tf.GradientTape() as tape:
        tape.watch(feature_map)
        got = roi_align(feature_map, np.zeros((1, 3, 4)), 8)
    assert np.isfinite(got).all()
    assert np.isfinite(tape.gradient(got, feature_map)).all()


STRIDES = {"P3": 8, "P4": 16, "P5": 32}


def maps(value=None):
    sizes = {"P3": 16, "P4": 8, "P5": 4}
    rng = np.random.default_rng(0)
    return {
        name: np.full((1, n, n, 2), value(name), "float32") if value
        else rng.normal(size=(1, n, n, 2)).astype("float32")
        for name, n in sizes.items()
    }  # fmt: skip


def test_boxes_are_taken_from_the_level_of_their_size():
    layer = MultilevelRoIAlign(STRIDES, canonical_size=32)
    boxes = np.float32(
        [[[9, 9, 30, 30], [9, 9, 40.9, 41], [9, 9, 41, 41], [0, 0, 64, 64],
          [0, 0, 128, 128], [4, 60, 124, 62], [0, 0, 0, 0]]]
    )  # fmt: skip
    assert np.asarray(layer.levels(boxes))[0].tolist() == [0, 0, 1, 2, 2, 0, 0]
    got = np.asarray(layer(maps(lambda name: int(name[1:])), boxes))
    assert got.shape == (1, 7, 7, 7, 2)
    centre = got[0, :, 3, 3, 0]
    np.testing.assert_allclose(centre[:-1], [3, 3, 4, 5, 5, 3], rtol=1e-5)


def test_a_box_has_the_values_of_its_own_level():
    layer = MultilevelRoIAlign(STRIDES, canonical_size=32, size=5, samples=3)
    boxes = np.float32([[[9, 9, 30, 30], [10, 4, 60, 50]]])
    all_maps = maps()
    got = np.asarray(layer(all_maps, boxes))
    for row, level in enumerate(["P3", "P4"]):
        alone = roi_align(
            all_maps[level], boxes[:, row : row + 1], STRIDES[level], 5, 3
        )
        np.testing.assert_allclose(got[:, row], alone[:, 0], rtol=1e-5, atol=1e-6)


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="each twice the one before.*strides="):
        MultilevelRoIAlign({"P3": 8, "P5": 32})
    with pytest.raises(ValueError, match="must be positive.*canonical_size=0"):
        MultilevelRoIAlign(STRIDES, canonical_size=0)
