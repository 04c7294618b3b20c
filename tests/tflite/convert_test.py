import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_distill import tflite
from keras_distill.device.embedder import Embedder
from keras_distill.tflite.convert import embedder_of
from keras_distill.tflite.graph import read_graph
from tests import tiny_embedder
from tests.conftest import ROOT


def cosines(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.sum(a * b, 1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def by_keras(student, images):
    return np.asarray(student(images.astype("float32"), training=False))


def test_the_float_file_embeds_uint8_images_as_the_student_does():
    images, _ = tiny_embedder.images()
    embedder = Embedder(tiny_embedder.converted("float32"))
    assert (embedder.image_shape, embedder.dim) == ((32, 32, 1), 16)
    np.testing.assert_allclose(
        embedder.embed(images), by_keras(tiny_embedder.student(), images), atol=1e-5
    )


def test_the_int8_file_embeds_nearly_so_and_keeps_length_one():
    images, _ = tiny_embedder.images()
    rows = Embedder(tiny_embedder.converted("int8")).embed(images)
    found = cosines(rows, by_keras(tiny_embedder.student(), images))
    assert found.mean() > 0.9995 and found.min() > 0.998
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("backbone", ["separable", "conv4"])
@pytest.mark.parametrize(
    "mode, part, mean, least",
    [("float16", 0.53, 0.999999, 0.99999), ("dynamic", 0.33, 0.9998, 0.9995)],
)
def test_the_files_without_calibration_are_smaller_and_embed_nearly_so(
    backbone, mode, part, mean, least
):
    images, _ = tiny_embedder.images()
    model = tflite.convert(tiny_embedder.student(backbone), mode)
    assert len(model) < part * len(tiny_embedder.converted("float32", backbone))
    rows = Embedder(model).embed(images)
    found = cosines(rows, by_keras(tiny_embedder.student(backbone), images))
    assert mean < found.mean() < 1 - 1e-9 and found.min() > least
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_dynamic_weights_have_one_scale_a_channel_and_one_where_fully_connected():
    model = tflite.convert(tiny_embedder.student(), "dynamic")
    found = {}
    for op, data, weights in read_graph(model).weighted():
        assert (data.dtype, weights.dtype) == ("FLOAT32", "INT8")
        channels = weights.shape[-1 if op.name == "DEPTHWISE_CONV_2D" else 0]
        found.setdefault(op.name, set()).add(weights.scales / channels)
    assert found == {
        "CONV_2D": {1},
        "DEPTHWISE_CONV_2D": {1},
        "FULLY_CONNECTED": {1 / 16},
    }


def test_converting_again_gives_the_same_bytes():
    again = tflite.convert(
        tiny_embedder.student(), "int8", tiny_embedder.calibration().copy()
    )
    assert again == tiny_embedder.converted("int8")


def test_another_process_gives_the_same_bytes(tmp_path):
    tiny_embedder.student().save(tmp_path / "student.keras")
    np.save(tmp_path / "calibration.npy", tiny_embedder.calibration())
    program = """
import sys, pathlib, keras, numpy as np, keras_distill as kd
folder = pathlib.Path(sys.argv[1])
kd.layers, kd.tflite  # registers the layers
student = keras.saving.load_model(folder / "student.keras")
calibration = np.load(folder / "calibration.npy")
(folder / "int8.tflite").write_bytes(kd.tflite.convert(student, "int8", calibration))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""  # and it is quiet
    saved = keras.saving.load_model(tmp_path / "student.keras")
    here = tflite.convert(saved, "int8", tiny_embedder.calibration())
    assert (tmp_path / "int8.tflite").read_bytes() == here


def test_a_student_trained_in_half_precision_is_converted_in_float32():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 1))
        x = keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(inputs))
        x = keras.layers.GlobalAveragePooling2D()(x)
        half = keras.Model(inputs, keras.layers.UnitNormalization(dtype="float32")(x))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    rows = Embedder(tflite.convert(half)).embed(images)
    assert half.layers[2].compute_dtype == "float16"  # the student is left alone
    # Half precision is off by 1e-3 at most; a lost weight would be off by far more.
    np.testing.assert_allclose(rows, by_keras(half, images), atol=5e-3)


def test_a_model_that_owns_a_student_is_converted_as_that():
    class Trainer:
        student = tiny_embedder.student()

    assert embedder_of(Trainer()) is Trainer.student


def images_of(shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    "mode, calibration, error, message",
    [
        ("int4", None, ValueError, "one of 'float32', 'float16', 'dy.*mode='int4'"),
        ("int8", None, ValueError, "needed by mode='int8'.*calibration=None"),
        ("int8", images_of((3, 32, 32, 1), float), TypeError, "uint8.*float64"),
        ("int8", images_of((0, 32, 32, 1)), ValueError, r"at least one.*\(0, 32"),
        ("int8", images_of((3, 28, 28, 1)), ValueError, r"\(32, 32, 1\).*\(3, 28"),
    ],
)
def test_refuses_and_says_what_it_got(mode, calibration, error, message):
    with pytest.raises(error, match=message):
        tflite.convert(tiny_embedder.student(), mode, calibration)


def test_refuses_what_is_no_embedder():
    with pytest.raises(TypeError, match="keras.Model. Received: student='x.keras'"):
        tflite.convert("x.keras")
    any_size = keras.Sequential(
        [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()]
    )
    with pytest.raises(ValueError, match=r"input_shape=\(None, None, None, 3\)"):
        tflite.convert(any_size)
    with pytest.raises(ValueError, match="input_shape=None"):
        tflite.convert(keras.Model())
