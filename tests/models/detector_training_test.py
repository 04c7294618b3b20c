"""Detectors learn in `fit`, are measured in a callback, and are kept whole."""

import json

import keras
import numpy as np
import pytest

from keras_distill import callbacks, data, detection, layers, metrics
from tests.models.tiny_detectors import faster_rcnn, images, pictures, retinanet

TRAIN, TEST = pictures(48, seed=2), pictures(12, seed=3)


TWO_STAGE = pytest.param(faster_rcnn, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[retinanet, TWO_STAGE])
def trained(request):
    """A detector after some epochs, its history, and the callback that measured it."""
    keras.utils.set_random_seed(0)
    detector = request.param()
    detector.compile(keras.optimizers.Adam(4e-3))
    batches = data.box_batches(TRAIN, 8, layers.RandomBoxAffine(scale=0.1))
    measured = callbacks.DetectionEvaluation(TEST, every=100)
    history = detector.fit(
        batches, epochs=16, verbose=0, shuffle=False, callbacks=[measured]
    )
    return detector, history.history, measured


def test_it_learns(trained):
    detector, history, measured = trained
    assert set(detector.term_names) < set(history)
    total = sum(np.array(history[name]) for name in detector.term_names)
    np.testing.assert_allclose(history["loss"], total, rtol=1e-3)
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["val_ap50"][-1] > 0.6 > history["val_ap50"][0]
    assert [one["epoch"] for one in measured.history] == [0, 15]
    # Between measurements the last figure stands.
    assert history["val_ap"][:15] == history["val_ap"][:1] * 15


def test_the_callback_says_what_the_report_says(trained):
    detector, _, measured = trained
    report = metrics.detector_report(detector, TEST, batch_size=5)
    assert report["ap"] == pytest.approx(measured.last["ap"], abs=1e-6)
    assert report["classes"].keys() == {"square", "bar"}


def test_detections_do_not_depend_on_the_batch(trained):
    detector = trained[0]
    found = metrics.detect(detector, TEST, batch_size=5)
    alone = detector.predict(images(TEST, [7]), verbose=0)
    for name, values in found.items():
        np.testing.assert_allclose(values[7], alone[name][0], rtol=1e-3, atol=1e-3)
    assert found["boxes"].shape == (12, 100, 4) and found["labels"].shape == (12, 100)


def test_it_is_kept_whole(trained, tmp_path):
    detector = trained[0]
    detector.save(tmp_path / "detector.keras")
    again = keras.saving.load_model(tmp_path / "detector.keras", compile=False)
    configs = [json.loads(json.dumps(one.get_config())) for one in (again, detector)]
    for config in configs:
        config.pop("pyramid")  # Its layers are compared by what they put out.
    assert configs[0] == configs[1]
    batch = images(TEST, [0, 1])
    for one, other in zip(
        keras.tree.flatten(detector(batch)), keras.tree.flatten(again(batch)),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_a_picture_shows_what_there_is_and_what_is_found(trained):
    found = metrics.detect(trained[0], TEST)
    sheet = np.asarray(detection.picture(TEST, found, count=5))
    assert sheet.ndim == 3 and sheet.shape[0] > 600
    nothing = {**found, "labels": np.full_like(found["labels"], -1)}
    empty = np.asarray(detection.picture(TEST, nothing, count=5))
    assert empty.shape == sheet.shape and (empty != sheet).any()


def test_images_of_another_shape_are_refused(trained):
    other = data.BoxSet(data.ImageSet(np.zeros((1, 32, 32, 3), np.uint8), [0]), [[]],
                        [[]], ["a", "b"])  # fmt: skip
    with pytest.raises(ValueError, match=r"\(64, 96, 3\). Received.*\(32, 32, 3\)"):
        metrics.detect(trained[0], other)


def test_a_callback_of_no_epochs_is_refused():
    with pytest.raises(ValueError, match="`every` must be a positive.*every=0"):
        callbacks.DetectionEvaluation(TEST, every=0)
