import zlib

import keras
import numpy as np
import pytest

from keras_distill import tflite
from keras_distill.tflite import compressed
from tests import tiny_embedder


def kernels(model):
    return [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]


def normalised(model):
    kind = keras.layers.BatchNormalization
    weights = [x.get_weights() for x in model.layers if isinstance(x, kind)]
    return [weight for some in weights for weight in some]


@pytest.mark.parametrize("how", [{"sparsity": 0.7}, {"clusters": 16}])
def test_kernels_are_pruned_or_clustered_and_still_embed(how):
    student = tiny_embedder.student("conv4_16")
    images, _ = tiny_embedder.images()
    before = [w.copy() for w in student.get_weights()]
    copy = compressed(student, tiny_embedder.calibration(), epochs=6, **how)
    for kernel, own in zip(kernels(copy), kernels(student), strict=True):
        if "sparsity" in how:
            assert np.mean(kernel == 0) == pytest.approx(0.7, abs=0.01)
        else:
            assert len(np.unique(kernel)) <= 16 < len(np.unique(own))
    for kept, own in zip(normalised(copy), normalised(student), strict=True):
        np.testing.assert_array_equal(kept, own)
    for weight, own in zip(student.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, own)
    rows = [np.asarray(model(images.astype("float32"))) for model in (student, copy)]
    assert np.sum(rows[0] * rows[1], axis=1).mean() > 0.8
    sizes = [
        len(zlib.compress(tflite.convert(model, "int8", tiny_embedder.calibration())))
        for model in (student, copy)
    ]
    assert sizes[1] < 0.95 * sizes[0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "One of `sparsity` and `clusters`.*sparsity=None, clusters=None"),
        ({"sparsity": 0.5, "clusters": 9}, "One of .*sparsity=0.5, clusters=9"),
        ({"sparsity": 1.0}, r"in \(0, 1\). Received: sparsity=1.0"),
        ({"sparsity": float("nan")}, "sparsity=nan"),
        ({"clusters": 1}, "integer from 2. Received: clusters=1"),
        ({"clusters": 2.5}, "clusters=2.5"),
        ({"clusters": 9, "epochs": 0}, "epochs=0"),
        ({"clusters": 9, "learning_rate": 1}, "learning_rate=1"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        compressed(tiny_embedder.student(), tiny_embedder.calibration(), **arguments)


def test_refuses_what_are_no_images_of_the_student():
    with pytest.raises(TypeError, match="uint8.*float64"):
        compressed(tiny_embedder.student(), np.zeros((2, 32, 32, 1)), sparsity=0.5)
    with pytest.raises(TypeError, match="`student` must be a keras.Model"):
        compressed("student", tiny_embedder.calibration(), sparsity=0.5)
