"""RetinaNet: its beginning, its loss, what it detects, and how it is kept."""

import keras
import numpy as np
import pytest

from keras_distill import models
from keras_distill.detection import encode
from tests.models.tiny_detectors import (
    SHAPE,
    images,
    pictures,
    pyramid,
    retinanet,
    targets,
)

BOXES = pictures(6, seed=1)


@pytest.fixture(scope="module")
def fresh():
    return retinanet()


def test_the_outputs_have_an_anchor_for_each_place(fresh):
    # P3 to P6 of 64 x 96: 8 x 12, 4 x 6, 2 x 3 and 1 x 2 cells of nine anchors.
    count = 9 * (96 + 24 + 6 + 2)
    assert fresh.strides == {"P3": 8, "P4": 16, "P5": 32, "P6": 64}
    assert fresh.anchors.shape == (count, 4) and fresh.image_shape == SHAPE
    outputs = fresh(images(BOXES, [0, 1]))
    assert outputs["class_logits"].shape == (2, count, 2)
    assert outputs["box_deltas"].shape == (2, count, 4)


def test_a_fresh_network_takes_every_anchor_for_nothing(fresh):
    outputs = fresh(images(BOXES, range(6)))
    chances = keras.ops.sigmoid(outputs["class_logits"])
    assert 0.005 < np.mean(chances) < 0.02
    assert np.abs(np.mean(outputs["box_deltas"])) < 0.1
    # Not the hundreds to thousands of a class head that begins at one half.
    terms = fresh.terms(targets(BOXES, np.arange(6)), outputs)
    assert np.mean(terms["class_loss"]) < 3


def by_loops(detector, truth, outputs):
    """The two losses of the batch, anchor by anchor in float64."""
    focal, moved, positives = 0.0, 0.0, 0
    logits = np.asarray(outputs["class_logits"], np.float64)
    for row in range(len(logits)):
        boxes = truth["boxes"][row][truth["mask"][row]].astype(np.float64)
        labels = truth["labels"][row][truth["mask"][row]]
        overlap = np.array([[iou(a, b) for b in boxes] for a in detector.anchors])
        for place, anchor in enumerate(detector.anchors):
            own = overlap[place] if len(boxes) else np.zeros(0)
            best = own.argmax() if len(boxes) else None
            forced = [
                m for m in range(len(boxes)) if own[m] >= overlap[:, m].max() - 1e-7
            ]
            if forced:
                best = max(forced, key=lambda m: own[m])
            elif not len(boxes) or own[best] < 0.4:
                best = None
            elif own[best] < 0.5:
                continue
            for label in range(2):
                true = best is not None and labels[best] == label
                p = 1 / (1 + np.exp(-logits[row, place, label]))
                p, share = (p, 0.25) if true else (1 - p, 0.75)
                focal += -share * (1 - p) ** 2 * np.log(p)
            if best is not None:
                positives += 1
                wanted = np.asarray(encode(boxes[best : best + 1], anchor[None]))[0]
                error = np.abs(outputs["box_deltas"][row, place] - wanted)
                moved += np.where(error < 1 / 9, 4.5 * error**2, error - 0.5 / 9).sum()
    return focal / max(1, positives), moved / max(1, positives)


def iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = np.prod(np.maximum(sides, 0))
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def test_the_loss_is_that_of_loops_over_anchors(fresh):
    rows = np.arange(4)
    outputs = fresh(images(BOXES, rows))
    truth = targets(BOXES, rows)
    terms = fresh.terms(truth, outputs)
    focal, moved = by_loops(fresh, truth, outputs)
    np.testing.assert_allclose(np.mean(terms["class_loss"]), focal, rtol=1e-4)
    np.testing.assert_allclose(np.mean(terms["box_loss"]), moved, rtol=1e-4)
    total = fresh.compute_loss(None, truth, outputs)
    np.testing.assert_allclose(total, focal + moved, rtol=1e-4)


def test_padding_changes_nothing_and_images_without_boxes_are_learned_from(fresh):
    outputs = fresh(images(BOXES, [0, 1]))
    truth = targets(BOXES, np.array([0, 1]))
    wider = {k: np.pad(v, [(0, 0), (0, 3)] + [(0, 0)] * (v.ndim - 2),
             constant_values=7) for k, v in truth.items()}  # fmt: skip
    wider["mask"][:, -3:] = False
    first, second = fresh.terms(truth, outputs), fresh.terms(wider, outputs)
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], rtol=1e-6)
    truth["mask"][:] = False
    terms = fresh.terms(truth, outputs)
    assert np.all(np.asarray(terms["class_loss"]) > 0)
    np.testing.assert_array_equal(terms["box_loss"], 0)


def test_sample_weights_are_of_images(fresh):
    outputs = fresh(images(BOXES, range(3)))
    truth = targets(BOXES, np.arange(3))
    terms = fresh.terms(truth, outputs)
    expected = sum(np.mean(values * np.array([0, 2, 0.5])) for values in terms.values())
    got = fresh.compute_loss(None, truth, outputs, np.array([0, 2, 0.5]))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_what_is_predicted_where_anchors_lie_is_detected(fresh):
    count = len(fresh.anchors)
    logits = np.full((1, count, 2), -9.0, np.float32)
    logits[0, 500, 1], logits[0, 900, 0] = 3.0, 1.0
    deltas = np.zeros((1, count, 4), np.float32)
    deltas[0, 500] = [0.1, 0, np.log(0.5), np.log(0.5)]
    found = fresh.detections({"class_logits": logits, "box_deltas": deltas})
    np.testing.assert_array_equal(found["labels"][0, :3], [1, 0, -1])
    x1, y1, x2, y2 = fresh.anchors[500]
    wide, high = x2 - x1, y2 - y1
    middle = np.array([(x1 + x2) / 2 + 0.1 * wide, (y1 + y2) / 2])
    half = np.array([wide, high]) / 4
    expected = np.clip([*(middle - half), *(middle + half)], 0, [96, 64, 96, 64])
    np.testing.assert_allclose(found["boxes"][0, 0], expected, atol=1e-3)


def test_anchors_say_which_box_they_are_to_detect(fresh):
    truth = targets(BOXES, np.arange(6))
    places = np.asarray(fresh.matched_boxes(truth["boxes"], truth["labels"]))
    assert places.shape == (6, len(fresh.anchors))
    for row in range(6):
        assert set(places[row]) - {-1} == set(range(truth["mask"][row].sum()))


def test_maps_can_be_read_in_the_same_pass(fresh):
    tapped = models.tap(fresh, [fresh.pyramid.name, "class_logits"])
    found = tapped(images(BOXES, [0]))
    assert found["pyramid"]["P4"].shape == (1, 4, 6, 16)
    np.testing.assert_array_equal(
        found["class_logits"], found["output"]["class_logits"]
    )


def test_a_pyramid_of_keras_hub_serves_as_well():
    import keras_hub as hub

    encoder = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=SHAPE,
    )
    backbone = hub.models.RetinaNetBackbone(
        encoder, min_level=3, max_level=6, use_p5=True, image_shape=SHAPE
    )
    detector = models.RetinaNet(backbone, 2, head_width=16, head_convs=0)
    assert detector.strides == {"P3": 8, "P4": 16, "P5": 32, "P6": 64}
    outputs = detector(images(BOXES, [0]))
    assert outputs["class_logits"].shape == (1, 9 * 128, 2)
    assert np.isfinite(detector.compute_loss(None, targets(BOXES, [0]), outputs))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_classes": 0}, "must be positive.*num_classes=0"),
        ({"head_convs": -1}, "not negative.*head_convs=-1"),
    ],
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.RetinaNet(pyramid(), **{"num_classes": 2, **arguments})


def test_maps_that_are_no_pyramid_are_refused():
    image = keras.Input(SHAPE)
    half = keras.layers.AveragePooling2D(8)(image)
    with pytest.raises(ValueError, match="called P and their level.*'C3'"):
        models.RetinaNet(keras.Model(image, {"C3": half}), 2)
    with pytest.raises(ValueError, match=r"must be of \(4, 6\) cells.*\(8, 12\)"):
        models.RetinaNet(keras.Model(image, {"P4": half}), 2)


def test_targets_that_lack_something_are_refused(fresh):
    outputs = fresh(images(BOXES, [0]))
    with pytest.raises(ValueError, match="dictionary of boxes.*without labels, mask"):
        fresh.compute_loss(None, {"boxes": np.zeros((1, 1, 4))}, outputs)
    with pytest.raises(ValueError, match="without boxes, labels, mask"):
        fresh.compute_loss(None, np.zeros(1), outputs)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"image_shape": (60, 96, 3)}, "multiples of 32.*60, 96, 3"),
        ({"widths": (8, 8, 8)}, r"four positive.*widths=\(8, 8, 8\)"),
        ({"levels": (1, 5)}, r"2 <= finest.*levels=\(1, 5\)"),
        ({"levels": (5, 4)}, r"levels=\(5, 4\)"),
    ],
)
def test_pyramids_that_cannot_be_are_refused(options, message):
    options = {"image_shape": SHAPE, **options}
    with pytest.raises(ValueError, match=message):
        models.pyramid(**options)


def test_a_pyramid_has_the_levels_that_are_asked_for():
    maps = models.pyramid(SHAPE, (8,) * 4, width=6, levels=(2, 7)).output
    assert {k: tuple(v.shape[1:]) for k, v in maps.items()} == {
        "P2": (16, 24, 6), "P3": (8, 12, 6), "P4": (4, 6, 6), "P5": (2, 3, 6),
        "P6": (1, 2, 6), "P7": (1, 1, 6),
    }  # fmt: skip
    assert list(models.pyramid(SHAPE, (8,) * 4, levels=(3, 4)).output) == ["P3", "P4"]
