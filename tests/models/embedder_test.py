"""An embedder takes pixels and gives unit rows, whatever its backbone."""

import keras
import numpy as np
import pytest

import keras_distill as kd

rng = np.random.default_rng(0)


def images(size, channels, dtype="uint8"):
    return rng.integers(0, 256, (2, size, size, channels)).astype(dtype)


# One family for each kind of preprocessing, besides our own two.
BACKBONES = [
    ("conv4", 32, 1),
    ("separable", 32, 3),
    ("MobileNetV3Small", 32, 3),  # carries its preprocessing
    ("MobileNetV2", 32, 3),  # [-1, 1]
]


@pytest.mark.parametrize("backbone, size, channels", BACKBONES)
def test_rows_are_unit_vectors_and_layers_have_their_names(backbone, size, channels):
    net = kd.models.embedder(backbone, (size, size, channels), dim=5)
    out = net(images(size, channels))
    assert out.shape == (2, 5) and out.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)
    inner = kd.models.tap(net, ["features", "pooled", "embedding"])
    found = inner(images(size, channels))
    assert len(found["features"].shape) == 4
    if backbone != "MobileNetV3Small":  # which ends in a hard swish
        assert np.min(found["features"]) == 0  # after the last ReLU
    pooled = np.mean(found["features"], axis=(1, 2))
    np.testing.assert_allclose(found["pooled"], pooled, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["embedding"], found["output"])


def test_a_conv4_has_64_channels_unless_its_name_says_another_number():
    widths = {"conv4": 64, "conv4_64": 64, "conv4_16": 16}
    for name, channels in widths.items():
        net = kd.models.embedder(name, (16, 16, 1), dim=4)
        assert net.get_layer("features").output.shape == (None, 2, 2, channels)
    with pytest.raises(ValueError, match="conv4_N .*backbone='conv4_0'"):
        kd.models.embedder("conv4_0", (16, 16, 1), dim=4)


@pytest.mark.parametrize("backbone", ["conv4_4", "separable"])
def test_averages_of_batches_are_those_of_the_data_after_two_hundred_steps(backbone):
    # With Keras's own momentum an eighth of the initial values would be left.
    net = kd.models.embedder(backbone, (16, 16, 1), dim=4)
    pixels = rng.uniform(0, 255, (64, 16, 16, 1)).astype("float32")
    for _ in range(200):
        trained = net(pixels, training=True)
    np.testing.assert_allclose(net(pixels), trained, atol=0.02)


def test_pixels_may_be_bytes_or_floats():
    net = kd.models.embedder("conv4", (16, 16, 1), dim=4)
    pixels = images(16, 1)
    np.testing.assert_array_equal(net(pixels), net(pixels.astype("float32")))


@pytest.mark.parametrize(
    "name, pixel, expected",
    [
        ("MobileNetV2", [0, 127.5, 255], [-1, 0, 1]),
        # BGR without the means of ImageNet.
        ("ResNet50", [103.939, 116.779, 123.68], [19.741, 0, -19.741]),
        (
            "DenseNet121",
            [255, 0, 127.5],
            [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.5 - 0.406) / 0.225],
        ),
    ],
)
def test_each_family_sees_the_pixels_its_weights_expect(
    name, pixel, expected, monkeypatch
):
    def nothing(include_top, weights, input_shape):
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Identity()(inputs))

    # What stands before the net is ours; building the net would take seconds.
    nothing.__name__ = name
    monkeypatch.setattr(keras.applications, name, nothing)
    net = kd.models.embedder(name, (8, 8, 3), dim=4)
    before = kd.models.tap(net, ["features"])
    seen = before(np.full((1, 8, 8, 3), pixel, "float32"))["features"]
    np.testing.assert_allclose(seen[0, 5, 7], expected, atol=1e-4)


def test_an_embedder_saves_and_loads(tmp_path):
    net = kd.models.embedder("separable", (16, 16, 3), dim=4)
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    pixels = images(16, 3)
    np.testing.assert_array_equal(net(pixels), again(pixels))


def test_half_precision_still_gives_float32_rows_of_length_one():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = kd.models.embedder("conv4", (16, 16, 1), dim=64)
    finally:
        keras.config.set_dtype_policy("float32")
    out = net(images(16, 1))
    assert out.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)


def test_the_zero_row_has_a_finite_gradient():
    import tensorflow as tf

    rows = tf.Variable(np.array([[0.0, 0.0], [3.0, 4.0]], "float32"))
    with tf.GradientTape() as tape:
        unit = kd.layers.L2Normalization()(rows)
        loss = tf.reduce_sum(unit)
    np.testing.assert_allclose(unit, [[0, 0], [0.6, 0.8]], rtol=1e-6)
    assert np.isfinite(tape.gradient(loss, rows)).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("conv5", (32, 32, 1), 8), "one of conv4, .*separable, .*backbone='conv5'"),
        (("conv4", (32, 32), 8), r"height, width, channels.*image_shape=\(32, 32\)"),
        (("conv4", (32, 0, 1), 8), r"positive integers.*image_shape=\(32, 0, 1\)"),
        (("conv4", (32, 32, 1), 0), "positive integer.*dim=0"),
        (("conv4", (32, 32, 1), 8, "imagenet"), "no trained weights.*'imagenet'"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        kd.models.embedder(*arguments)


def test_the_smallest_squared_length_must_be_positive():
    with pytest.raises(ValueError, match="must be positive.*epsilon=0"):
        kd.layers.L2Normalization(epsilon=0)
