import numpy as np
import pytest

from keras_distill import device
from tests import tiny_embedder


@pytest.fixture(scope="module")
def bundle():
    return device.open_bundle(tiny_embedder.bundle())


@pytest.fixture(scope="module")
def file():
    return (tiny_embedder.bundle() / "search.tflite").read_bytes()


def test_images_go_in_and_neighbours_come_out(bundle, file):
    searcher = device.Searcher(file)
    assert (searcher.image_shape, searcher.k, searcher.dim) == ((32, 32, 1), 10, 16)
    images, _ = tiny_embedder.images()
    scores, indices, embeddings = searcher.search(images[[4, 90]], len(bundle))
    assert indices[:, 0].tolist() == [4, 90]
    np.testing.assert_allclose(scores[:, 0], 1, atol=2e-5)
    np.testing.assert_allclose(embeddings, bundle.embed(images[[4, 90]]), atol=1e-6)


def test_a_file_that_finds_what_is_not_there_is_refused(file):
    images, _ = tiny_embedder.images()
    with pytest.raises(device.BundleError, match="rows below 50.*Received"):
        device.Searcher(file).search(images[100:], 50)


def test_what_is_no_search_file_is_refused():
    embedder = tiny_embedder.converted("int8")
    with pytest.raises(ValueError, match=r"signature 'search'.*Received: .*'embed'"):
        device.Searcher(embedder)
    with pytest.raises(ValueError, match="cannot run this model"):
        device.Searcher(b"no model at all")


def test_refuses_and_says_what_it_got(file):
    images, _ = tiny_embedder.images()
    searcher = device.Searcher(file)
    with pytest.raises(TypeError, match="images.dtype=float32"):
        searcher.search(images.astype("float32"))
    with pytest.raises(ValueError, match=r"images.shape=\(32, 32, 1\)"):
        searcher.search(images[0])
    with pytest.raises(ValueError, match="threads=0"):
        device.Searcher(file, threads=0)
