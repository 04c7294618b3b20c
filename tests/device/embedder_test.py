import importlib.metadata

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.device import Embedder
from keras_distill.device import runtime as runtimes
from keras_distill.device.quiet import without_chatter
from tests import tiny_embedder


@pytest.fixture(scope="module")
def embedder():
    return Embedder(tiny_embedder.converted("int8"), threads=2)


def test_says_what_it_takes_gives_and_runs_on(embedder):
    assert (embedder.image_shape, embedder.dim) == ((32, 32, 1), 16)
    assert embedder.runtime.name in runtimes.RUNTIMES
    assert embedder.runtime.version == importlib.metadata.version(embedder.runtime.name)


def test_an_image_embeds_the_same_alone_and_in_a_batch(embedder):
    images, _ = tiny_embedder.images()
    rows = embedder.embed(images[:3])
    assert (rows.shape, rows.dtype) == ((3, 16), np.float32)
    assert np.array_equal(embedder.embed(images[1]), rows[1])
    assert not np.array_equal(rows[0], rows[1])
    assert embedder.embed(images[:0]).shape == (0, 16)


def test_more_threads_give_the_same_embeddings(embedder):
    images, _ = tiny_embedder.images()
    alone = Embedder(tiny_embedder.converted("int8"), threads=1)
    np.testing.assert_allclose(
        alone.embed(images[:9]), embedder.embed(images[:9]), atol=1e-6
    )


def test_tells_how_far_it_is_and_how_long_it_takes(embedder):
    images, _ = tiny_embedder.images()
    done = []
    embedder.embed(images[:3], progress=done.append)
    assert done == [1, 2, 3]
    assert 0 < embedder.milliseconds(images[0], repeats=3) < 1e3


def test_refuses_images_of_another_kind_and_says_what_it_got(embedder):
    with pytest.raises(TypeError, match="uint8.*images.dtype=float32"):
        embedder.embed(np.zeros((2, 32, 32, 1), np.float32))
    for shape in [(2, 28, 28, 1), (32, 32), (2, 32, 32, 3)]:
        with pytest.raises(ValueError, match=r"\(32, 32, 1\).*images.shape="):
            embedder.embed(np.zeros(shape, np.uint8))


def test_refuses_a_model_that_is_no_embedder():
    with pytest.raises(ValueError, match="cannot run this model"):
        Embedder(b"no model at all")
    inputs = keras.Input((4, 4, 1))
    maps = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    with without_chatter():
        model = tf.lite.TFLiteConverter.from_keras_model(maps).convert()
    with pytest.raises(ValueError, match=r"uint8\[1, height.*'float32', \[1, 4, 4, 1"):
        Embedder(model)


@pytest.mark.parametrize("threads", [0, -1, 1.5, None])
def test_refuses_threads_that_are_no_count(threads):
    with pytest.raises(ValueError, match=f"threads={threads}"):
        Embedder(tiny_embedder.converted("int8"), threads=threads)


def test_refuses_a_runtime_it_does_not_know():
    with pytest.raises(ValueError, match="'ai-edge-litert', 'tflite-runtime'.*'tf'"):
        Embedder(tiny_embedder.converted("int8"), runtime="tf")


def test_says_what_to_install_where_there_is_no_runtime(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(runtimes.importlib.metadata, "version", missing)
    with pytest.raises(ImportError, match="pip install ai-edge-litert.*runtime=None"):
        runtimes.find_runtime()
    with pytest.raises(ImportError, match="pip install tflite-runtime"):
        runtimes.find_runtime("tflite-runtime")


def test_says_why_an_installed_runtime_cannot_be_imported(monkeypatch):
    def broken(name):
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(runtimes.importlib, "import_module", broken)
    monkeypatch.setattr(runtimes.importlib.metadata, "version", lambda name: "2.14.0")
    with pytest.raises(ImportError, match="tflite-runtime 2.14.0.*multiarray.*numpy<2"):
        runtimes.find_runtime("tflite-runtime")
