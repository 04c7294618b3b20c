"""The file of a detector gives what its network gives, and a device finds the same."""

import numpy as np
import pytest

from keras_distill import device, models, tflite
from tests.models.tiny_detectors import faster_rcnn, pictures, retinanet

BOXES = pictures(6, seed=5)
PIXELS = BOXES.images.read(range(6))


@pytest.fixture(scope="module")
def detector():
    """Heads that say something, statistics of real pictures."""
    made = retinanet(least_score=0.3)
    for _ in range(5):
        made(PIXELS.astype(np.float32), training=True)
    for head in ("class_head", "box_head"):
        last = made.get_layer(head).layers[-1]
        last.kernel.assign(15 * last.kernel)
    last = made.get_layer("class_head").layers[-1]
    last.bias.assign(0 * last.bias - 1)
    return made


def outputs(detector):
    given = detector(PIXELS.astype(np.float32), training=False)
    return np.asarray(given["class_logits"]), np.asarray(given["box_deltas"])


def test_the_float_file_gives_the_outputs_and_the_boxes_of_the_network(detector):
    model = tflite.convert_detector(detector)
    on_device = device.Detector(model, detector.anchors, least_score=0.3)
    assert on_device.image_shape == (64, 96, 3) and on_device.num_classes == 2
    logits, deltas = outputs(detector)
    found = detector.predict(PIXELS.astype(np.float32), verbose=0)
    total = 0
    for row in range(6):
        raw = on_device.raw(PIXELS[row])
        np.testing.assert_allclose(raw[0], logits[row], atol=1e-3)
        np.testing.assert_allclose(raw[1], deltas[row], atol=1e-3)
        boxes, scores, _ = on_device.detect(PIXELS[row])
        own = found["scores"][row][found["labels"][row] >= 0]
        np.testing.assert_allclose(scores, own, atol=1e-3)
        total += len(boxes)
    assert total > 10
    # All weights are inside: a conversion that loses them makes a small file.
    assert len(model) > 4 * detector.count_params()
    with pytest.raises(ValueError, match="of 5 anchors. Received: outputs"):
        device.Detector(model, np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r"uint8 of shape \(64, 96, 3\).*float64"):
        on_device.raw(np.zeros((64, 96, 3)))


def test_the_int8_file_is_near_and_a_fraction_of_the_size(detector):
    model = tflite.convert_detector(detector, "int8", PIXELS)
    assert len(model) < 0.6 * 4 * detector.count_params()
    on_device = device.Detector(model, detector.anchors)
    logits, deltas = outputs(detector)
    raw = [on_device.raw(image) for image in PIXELS]
    for place, expected in enumerate((logits, deltas)):
        got = np.stack([one[place] for one in raw])
        error = np.sqrt(np.mean((got - expected) ** 2))
        assert error < 0.1 * expected.std()


def test_what_is_no_one_stage_detector_is_refused():
    with pytest.raises(ValueError, match="class_logits and box_deltas alone.*FasterRC"):
        tflite.convert_detector(faster_rcnn())
    with pytest.raises(ValueError, match="alone.*Received: detector='conv4_4'"):
        tflite.convert_detector(models.embedder("conv4", (16, 16, 3), 4))
    with pytest.raises(TypeError, match="keras.Model. Received: detector=3"):
        tflite.convert_detector(3)
