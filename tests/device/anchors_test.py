"""Anchors: by hand, in the order of the heads, and of any map."""

import numpy as np
import pytest

from keras_distill.device import anchors
from keras_distill.models.retinanet import SCALES


def test_they_lie_about_the_centres_of_cells():
    (boxes,) = anchors((16, 24, 3), {"P3": 8}, 2.0, ratios=(1.0,)).values()
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    expected = [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    np.testing.assert_allclose(centres, expected)
    np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 16)


def test_ratios_are_of_height_to_width_and_keep_the_area():
    (boxes,) = anchors((8, 8), {"P3": 8}, 4.0, (1.0, 2.0), (0.5, 4.0)).values()
    sides = boxes[:, 2:] - boxes[:, :2]
    np.testing.assert_allclose(sides[:, 1] / sides[:, 0], [0.5, 4, 0.5, 4], rtol=1e-6)
    np.testing.assert_allclose(sides.prod(1), [32**2] * 2 + [64**2] * 2, rtol=1e-6)


def test_maps_of_odd_sizes_have_a_cell_for_what_is_over():
    sizes = {k: len(v) for k, v in anchors((40, 72), {"P3": 8, "P6": 64}, 4.0).items()}
    assert sizes == {"P3": 5 * 9 * 3, "P6": 1 * 2 * 3}


def test_scales_come_before_ratios_and_levels_in_order():
    ours = anchors((64, 96, 3), {"P3": 8, "P4": 16}, 4.0, SCALES)
    assert list(ours) == ["P3", "P4"]
    first = np.sqrt(np.prod(ours["P3"][:9, 2:] - ours["P3"][:9, :2], axis=1))
    np.testing.assert_allclose(first, np.repeat(32 * np.array(SCALES), 3), rtol=1e-5)


def test_what_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="must be positive.*size=0"):
        anchors((8, 8), {"P3": 8}, 0)
