"""What is no object in an image teaches no detector, and an unknown one is refused."""

import numpy as np
import pytest

from tests.models.tiny_detectors import faster_rcnn, images, pictures, retinanet

PIXELS = images(pictures(6, seed=1), [0, 1])
OBJECT = [20, 16, 44, 40]


@pytest.fixture(scope="module", params=[retinanet, faster_rcnn])
def detector(request):
    return request.param()


@pytest.fixture(scope="module")
def outputs(detector):
    return detector(PIXELS)


def loss(detector, outputs, box, label=0, there=True):
    """Of an image with an object and what is given, and of one without anything."""
    for layer in detector.layers:
        if hasattr(layer, "generator"):  # The same sample of anchors each time.
            layer.generator.state.assign([3, 5])
    targets = {
        "boxes": np.float32([[OBJECT, box], [[0] * 4] * 2]),
        "labels": np.int32([[1, label], [-1, -1]]),
        "mask": np.array([[True, there], [False, False]]),
    }
    return float(detector.compute_loss(PIXELS, targets, outputs))


@pytest.mark.parametrize(
    "box", [[97, 16, 130, 40], [20, -30, 44, -1], [50, 16, 50, 40], [80, 40, 50, 16]]
)
def test_a_box_outside_the_image_or_without_area_is_as_padding(detector, outputs, box):
    padded = loss(detector, outputs, [0, 0, 0, 0], -1, there=False)
    assert loss(detector, outputs, box) == pytest.approx(padded, rel=1e-6)


def test_a_box_that_the_mask_leaves_out_is_as_padding(detector, outputs):
    box = [50, 16, 80, 40]
    padded = loss(detector, outputs, [0, 0, 0, 0], -1, there=False)
    assert loss(detector, outputs, box, there=False) == pytest.approx(padded, rel=1e-6)
    assert loss(detector, outputs, box) != pytest.approx(padded, rel=1e-5)


def test_a_box_that_leaves_the_image_is_learned_as_it_is_seen(detector, outputs):
    seen = loss(detector, outputs, [70, 16, 96, 40])
    assert loss(detector, outputs, [70, 16, 150, 40]) == pytest.approx(seen, rel=1e-6)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_class_that_the_detector_does_not_know_is_refused(detector, outputs, label):
    with pytest.raises(ValueError, match=rf"lie in 0\.\.1.*labels=\[{label}\]"):
        loss(detector, outputs, OBJECT, label)
