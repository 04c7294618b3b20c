"""A scorer gives each image one number in (0, 1), for next to no work."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import models

rng = np.random.default_rng(0)


def pixels(count=3, shape=(16, 16, 1)):
    return rng.integers(0, 256, (count, *shape)).astype("uint8")


@pytest.mark.parametrize("shape", [(16, 16, 1), (33, 17, 3), (5, 4, 1)])
def test_every_image_gets_one_score_between_0_and_1(shape):
    net = models.scorer(shape)
    scores = np.array(net(pixels(3, shape)))
    assert scores.shape == (3, 1) and scores.dtype == "float32"
    assert (scores > 0).all() and (scores < 1).all()
    assert net.output_shape == (None, 1) and net.input_shape == (None, *shape)


def test_the_score_is_the_sigmoid_of_the_logit():
    net = models.scorer((16, 16, 1))
    found = models.tap(net, ["logit", "score"])(pixels())
    logits = np.array(found["logit"], "float64")
    np.testing.assert_allclose(found["score"], 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_array_equal(found["score"], found["output"])


def test_pixels_may_be_bytes_or_floats():
    net, images = models.scorer((16, 16, 3)), pixels(2, (16, 16, 3))
    np.testing.assert_array_equal(net(images), net(images.astype("float32")))


def test_half_the_first_channels_see_local_contrast_at_full_resolution():
    net = models.scorer((6, 6, 1))
    images = pixels(1, (6, 6, 1))
    seen = net.get_layer("stem_contrast").input
    found = keras.Model(net.input, seen)(images.astype("float32"))
    unit = images[0, ..., 0] / 127.5 - 1
    for y, x in [(0, 0), (2, 3), (5, 1)]:
        around = unit[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        wanted = abs(unit[y, x] - around.mean())
        np.testing.assert_allclose(found[0, y, x, 0], wanted, atol=1e-6)
    stems = [net.get_layer(f"stem_{half}").filters for half in ("image", "contrast")]
    assert stems == [4, 4]


def work(model):
    """Multiplications with additions for one image; pooling counts its additions."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += work(layer)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            total += np.prod(layer.output.shape[1:]) * np.prod(layer.kernel_size)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            cells = np.prod(layer.output.shape[1:])
            total += cells * np.prod(layer.kernel.shape[:-1])
        elif isinstance(layer, keras.layers.AveragePooling2D):
            total += np.prod(layer.output.shape[1:]) * np.prod(layer.pool_size)
    return int(total)


def test_the_counter_counts_what_is_known():
    # The published figure: 300 million at 224 pixels with the classifier, 1.3 million.
    net = keras.applications.MobileNetV2(weights=None, include_top=False)
    at_224 = keras.Input((224, 224, 3))
    counted = work(keras.models.clone_model(net, input_tensors=at_224))
    assert abs(counted - 299e6) < 3e6
    dense = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7)])
    assert work(dense) == 35


@functools.cache
def work_of(name, size, channels):
    return work(models.embedder(name, (size, size, channels), dim=128))


@pytest.mark.parametrize(
    "backbone, size, channels, share",
    [
        ("MobileNetV2", 96, 3, 0.05),
        ("conv4", 48, 1, 0.02),
        ("conv4", 48, 3, 0.02),
        ("separable", 48, 3, 0.2),
    ],
)
def test_costs_a_small_share_of_the_embedder(backbone, size, channels, share):
    ours = work(models.scorer((size, size, channels)))
    assert 0 < ours <= share * work_of(backbone, size, channels)


def test_a_greater_width_is_a_greater_network():
    narrow, wide = (models.scorer((16, 16, 1), width=n) for n in (3, 16))
    assert narrow.count_params() < wide.count_params() < 60_000
    assert wide.get_layer("pooled").output.shape == (None, 128)
    assert wide(pixels()).shape == (3, 1)


def test_fit_tells_sharp_images_from_blurred_ones():
    sharp = np.random.default_rng(1).uniform(0, 255, (64, 12, 12, 1))
    blurred = sharp
    for axis in (1, 2, 1, 2):
        blurred = (blurred + np.roll(blurred, 1, axis)) / 2
    # Brightness is no hint.
    blurred = 127.5 + (blurred - 127.5) * 2
    images = np.concatenate([sharp, blurred])
    targets = np.repeat([[0.9], [0.1]], 64, axis=0)
    net = models.scorer((12, 12, 1), width=4)
    net.compile(keras.optimizers.Adam(0.02), "mse", jit_compile=False)
    net.fit(images, targets, batch_size=32, epochs=8, verbose=0)
    scores = np.ravel(net(images))
    assert scores[:64].mean() > scores[64:].mean() + 0.3


def test_half_precision_does_not_reach_the_score():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = models.scorer((16, 16, 1))
    finally:
        keras.config.set_dtype_policy("float32")
    assert net.get_layer("pointwise5").compute_dtype == "float16"
    scores = net(pixels())
    assert scores.dtype == net.get_layer("logit").output.dtype == "float32"


def test_scores_in_a_pipeline_as_it_does_eagerly():
    net, images = models.scorer((16, 16, 1)), pixels(4)
    data = tf.data.Dataset.from_tensor_slices(images).batch(2).map(net)
    np.testing.assert_allclose(np.concatenate(list(data)), net(images), rtol=1e-5)


def test_it_saves_and_loads(tmp_path):
    net = models.scorer((16, 16, 3), name="mine")
    net.save(tmp_path / "scorer.keras")
    again = keras.models.load_model(tmp_path / "scorer.keras")
    images = pixels(3, (16, 16, 3))
    assert again.name == "mine"
    np.testing.assert_array_equal(net(images), again(images))


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_a_phone_gives_nearly_the_same_scores(mode):
    net = models.scorer((16, 16, 1))
    calibration = pixels(50)
    for _ in range(30):  # Statistics of the batches, as after training.
        net(calibration.astype("float32"), training=True)
    model = kd.tflite.convert(net, mode, calibration)
    runner = kd.device.runtime.find_runtime()
    interpreter = runner.interpreter(model_content=model)
    run = interpreter.get_signature_runner()
    images = pixels(20)
    # Fainter and fainter: the scores are to differ.
    images = (images * np.linspace(1, 0.2, 20)[:, None, None, None]).astype("uint8")
    found = [list(run(image=image[None]).values())[0][0, 0] for image in images]
    wanted = np.ravel(net(images))
    np.testing.assert_allclose(found, wanted, atol=1e-5 if mode == "float32" else 0.05)
    assert np.corrcoef(found, wanted)[0, 1] > 0.95


@pytest.mark.parametrize(
    "arguments, message",
    [
        (((16, 16),), r"height, width, channels.*image_shape=\(16, 16\)"),
        (((16, 0, 1),), r"positive integers.*image_shape=\(16, 0, 1\)"),
        (((16, 16, 1), 1), "`width` must be an integer >= 2.*width=1"),
        (((16, 16, 1), 8.0), "`width` must be an integer >= 2.*width=8.0"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.scorer(*arguments)
