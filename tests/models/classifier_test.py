"""A classifier gives logits, and its layers have the names of an embedder's."""

import keras
import numpy as np
import pytest

import keras_distill as kd


def test_logits_are_linear_in_the_pooled_features():
    net = kd.models.classifier("conv4", (16, 16, 1), num_classes=7)
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 16, 16, 1))
    found = kd.models.tap(net, ["features", "pooled"])(pixels)
    kernel, bias = net.get_layer("logits").get_weights()
    expected = np.array(found["pooled"]) @ kernel + bias
    np.testing.assert_allclose(found["output"], expected, rtol=1e-4, atol=1e-6)
    assert len(found["features"].shape) == 4


def test_logits_stay_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = kd.models.classifier("separable", (16, 16, 3), num_classes=4)
    finally:
        keras.config.set_dtype_policy("float32")
    assert net(np.zeros((2, 16, 16, 3))).dtype == "float32"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("conv4", (16, 16, 1), 1), "2 or more.*num_classes=1"),
        (("conv4", (16, 16), 4), r"height, width, channels.*\(16, 16\)"),
        (("conv5", (16, 16, 1), 4), "one of conv4, .*separable.*backbone='conv5'"),
    ],
)
def test_refuses_what_makes_no_classifier(arguments, message):
    with pytest.raises(ValueError, match=message):
        kd.models.classifier(*arguments)
