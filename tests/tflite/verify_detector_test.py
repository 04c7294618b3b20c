"""Each check of a detector's file catches the fault that it is for."""

import numpy as np
import pytest

from keras_distill import device, tflite
from keras_distill.tflite import VerificationError, verify_detector
from tests.models.tiny_detectors import pictures, retinanet

PIXELS = pictures(6, seed=5).images.read(range(6))


@pytest.fixture(scope="module")
def detector():
    """Its statistics are those of the pictures, and its heads say something."""
    made = retinanet()
    for _ in range(5):
        made(PIXELS.astype(np.float32), training=True)
    for head in ("class_head", "box_head"):
        last = made.get_layer(head).layers[-1]
        last.kernel.assign(15 * last.kernel)
    return made


@pytest.fixture(scope="module")
def models(detector):
    return {
        mode: tflite.convert_detector(detector, mode, PIXELS)
        for mode in ("float32", "float16", "dynamic", "int8")
    }


@pytest.mark.parametrize(
    "mode, least, most",
    [
        ("float32", 0, 1e-5),
        ("float16", 1e-5, 5e-3),
        ("dynamic", 1e-4, 0.05),
        ("int8", 1e-3, 0.1),
    ],
)
def test_every_mode_gives_what_the_detector_gives(detector, models, mode, least, most):
    found = verify_detector(models[mode], detector, PIXELS, mode)
    assert found["bytes"] == len(models[mode]) and found["images"] == 6
    for name in ("logit_error", "offset_error"):
        assert least <= found[name] <= most
    assert "CONV_2D" in found["operators"]


def test_the_errors_are_those_of_all_outputs(detector, models):
    found = verify_detector(models["int8"], detector, PIXELS, "int8")
    on_device = device.Detector(models["int8"], detector.anchors)
    given = detector(PIXELS.astype(np.float32), training=False)
    for place, (name, key) in enumerate(
        [("class_logits", "logit_error"), ("box_deltas", "offset_error")]
    ):
        expected = np.asarray(given[name])
        got = np.stack([on_device.raw(image)[place] for image in PIXELS])
        error = np.sqrt(np.mean((got - expected) ** 2)) / expected.std()
        assert found[key] == pytest.approx(error, rel=1e-3)


def refuse(check, *args, **options):
    with pytest.raises(VerificationError, match="Received") as caught:
        verify_detector(*args, **options)
    assert caught.value.check == check


def test_a_file_of_another_detector_is_refused(detector, models):
    other = retinanet()
    refuse("difference", models["float32"], other, PIXELS)
    refuse("difference", models["int8"], detector, PIXELS, "int8", max_error=1e-4)


def test_a_file_of_another_mode_is_refused(detector, models):
    refuse("quantised", models["float32"], detector, PIXELS, "int8")
    refuse("quantised", models["int8"], detector, PIXELS, "float32")


def test_a_file_that_is_too_large_is_refused(detector, models):
    refuse(
        "ratio", models["int8"], detector, PIXELS, "int8",
        reference=models["float32"], max_ratio=0.1,
    )  # fmt: skip


def test_a_file_of_other_outputs_is_refused(detector, models):
    refuse("signature", models["float32"], retinanet(anchor_size=2.0).__class__(
        detector.pyramid, 3, 16, 1, 2.0
    ), PIXELS)  # fmt: skip


def test_outputs_that_are_no_numbers_are_refused(detector, models, monkeypatch):
    raw = device.Detector.raw

    def broken(self, image):
        logits, deltas = raw(self, image)
        return logits, np.where(deltas == deltas.max(), np.nan, deltas)

    monkeypatch.setattr(device.Detector, "raw", broken)
    refuse("finite", models["float32"], detector, PIXELS)


def test_arguments_that_cannot_be_are_refused(detector, models):
    with pytest.raises(ValueError, match="at least one image"):
        verify_detector(models["float32"], detector, PIXELS[:0])
    with pytest.raises(ValueError, match="`mode` must be one of.*'int4'"):
        verify_detector(models["float32"], detector, PIXELS, "int4")
