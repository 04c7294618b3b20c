import numpy as np
import pytest

from keras_distill.device import RUNTIMES, Scorer
from tests import tiny_embedder, tiny_scorer


@pytest.fixture(scope="module")
def scorer():
    return Scorer(tiny_scorer.converted("int8"), threads=2)


def test_says_what_it_takes_and_runs_on(scorer):
    assert scorer.image_shape == (32, 32, 1)
    assert scorer.runtime.name in RUNTIMES


def test_an_image_scores_the_same_alone_and_in_a_batch(scorer):
    images, _ = tiny_scorer.images()
    scores = scorer.score(images[:3])
    assert (scores.shape, scores.dtype) == ((3,), np.float32)
    assert scorer.score(images[1]) == scores[1] != scores[0]
    assert scorer.score(images[:0]).shape == (0,)
    assert 0 < scorer.milliseconds(images[0], repeats=3) < 1e3


def test_refuses_images_of_another_kind_and_says_what_it_got(scorer):
    with pytest.raises(TypeError, match="uint8.*images.dtype=float32"):
        scorer.score(np.zeros((2, 32, 32, 1), np.float32))
    with pytest.raises(ValueError, match=r"\(32, 32, 1\).*images.shape=\(2, 28, 28"):
        scorer.score(np.zeros((2, 28, 28, 1), np.uint8))


def test_refuses_a_model_that_gives_more_than_one_number():
    with pytest.raises(ValueError, match=r"one score.*Received: float32\[1, 16\]"):
        Scorer(tiny_embedder.converted("int8"))
