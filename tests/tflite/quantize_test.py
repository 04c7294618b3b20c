import keras
import numpy as np
import pytest
from keras import layers

from keras_distill import tflite
from keras_distill.device.embedder import Embedder
from keras_distill.layers import L2Normalization
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.quantize import activation_ranges, on_the_grid, trunk
from tests import tiny_embedder


def names(model):
    return [op.name for op in read_graph(model).operators]


def test_the_trunk_is_int8_and_the_two_ends_are_float():
    found = names(tiny_embedder.converted("int8", "conv4"))
    block = ["CONV_2D", "MAX_POOL_2D"]
    assert found == [
        *["CAST", "MUL", "ADD", "QUANTIZE"],
        *block * 3,
        *["CONV_2D", "MEAN", "FULLY_CONNECTED"],
        *["DEQUANTIZE", "L2_NORMALIZATION"],
    ]


def test_what_lies_between_weights_is_quantised_and_what_lies_outside_is_not():
    inputs = keras.Input((8, 8, 4))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.ZeroPadding2D(1)(x)  # before any weights: float
    x = layers.Conv2D(4, 3)(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(
        layers.GlobalAveragePooling2D(keepdims=True)(x)
    )
    x = layers.Add()([x, layers.Multiply()([x, gate])])
    x = layers.GlobalAveragePooling2D()(x)  # ends the trunk: no weights follow
    x = layers.Lambda(lambda x: x - 0.5)(x)  # after the trunk: float
    student = keras.Model(inputs, L2Normalization()(x))
    chosen = [name for _, name in trunk(read_graph(tflite.convert(student)))]
    assert chosen == ["CONV_2D", "MEAN", "CONV_2D", "LOGISTIC", "MUL", "ADD", "MEAN"]


def test_ranges_are_the_extremes_over_all_images_and_not_an_average():
    # One convolution that copies the first channel: its range is the images'.
    inputs = keras.Input((4, 4, 1))
    copy = layers.Conv2D(1, 1, kernel_initializer="ones")
    x = layers.Flatten()(copy(inputs))
    student = keras.Model(inputs, layers.Dense(2)(x))
    images = np.full((50, 4, 4, 1), 100, np.uint8)
    images[7, 0, 0], images[31, 2, 2] = 3, 251
    ranges = activation_ranges(tflite.convert(student), images)
    copied = [(r["min"].item(), r["max"].item()) for r in ranges.values()]
    assert copied[:2] == [(3.0, 251.0)] * 2  # the image in float, and its copy


def test_pixels_scaled_to_both_sides_of_0_keep_black_and_white():
    """255 steps of 2 / 255 from -1 miss every pixel by half a step; 254 do not."""
    inputs = keras.Input((4, 4, 1))
    halves = layers.Conv2D(2, 1, activation="relu", use_bias=False)
    x = halves(layers.Rescaling(1 / 127.5, offset=-1.0)(inputs))
    halves.kernel.assign([[[[1.0, -1.0]]]])  # each of them of a range from 0 to 1
    student = keras.Model(inputs, layers.Flatten()(layers.MaxPooling2D(4)(x)))
    pixels = np.arange(256, dtype=np.uint8)
    images = np.repeat(pixels, 16).reshape(256, 4, 4, 1)
    found = Embedder(tflite.convert(student, "int8", images)).embed(images)
    bright, dark = found.T
    error = 127.5 * np.abs(bright - dark - (pixels / 127.5 - 1))  # in pixel values
    assert error[0] < 0.01 and error[255] < 0.01
    assert error.mean() < 0.35 and error.max() < 0.8


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (-1.0, 2.0), (-0.2, 1.0)])
def test_ranges_that_are_not_symmetric_are_left_as_they_are(low, high):
    assert on_the_grid(low, high) == (low, high)
    assert on_the_grid(-1.0, 1.0) == (-128 / 127, 1.0)


def test_calibrating_on_dark_images_alone_spoils_bright_ones():
    images, _ = tiny_embedder.images()
    dark = tiny_embedder.calibration() // 8
    student = tiny_embedder.student()
    rows = Embedder(tflite.convert(student, "int8", dark)).embed(images)
    expected = np.asarray(student(images.astype("float32"), training=False))
    good = Embedder(tiny_embedder.converted("int8")).embed(images)
    assert np.mean(rows * expected) < 0.99 * np.mean(good * expected)


def test_large_constants_lie_inside_the_file():
    # Beyond 256 kB of constants the quantizer writes them behind the flatbuffer.
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(32, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Dense(256)(layers.Flatten()(x))
    student = keras.Model(inputs, L2Normalization()(x))
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    model = tflite.convert(student, "int8", images)
    assert len(model) > 256 * 1024

    from ai_edge_litert.schema_py_generated import Model

    file = Model.GetRootAs(model, 0)
    buffers = [file.Buffers(i) for i in range(file.BuffersLength())]
    assert all(buffer.Offset() == 0 for buffer in buffers)
    assert max(buffer.DataLength() for buffer in buffers) == 6 * 6 * 32 * 256
