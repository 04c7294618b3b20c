import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data.image_sums import are_alike, image_sums
from keras_distill.layers import RandomAffine

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 24, 20, 3), np.uint8)


def sums(images):
    return image_sums(tf.constant(images)).numpy()


def test_integers_and_floats_of_the_same_pixels_are_the_same():
    assert sums(IMAGES).shape == (40, 5) and sums(IMAGES).dtype == np.float32
    assert are_alike(sums(IMAGES), sums(IMAGES.astype(np.float32))).all()


def test_the_batch_does_not_matter_nor_the_last_bit_of_a_pixel():
    floats = IMAGES.astype(np.float32) * 0.37
    others = np.nextafter(floats, np.float32(1e9) * RNG.choice([-1, 1], floats.shape))
    assert are_alike(sums(floats), sums(others.astype(np.float32))).all()
    alone = np.concatenate([sums(floats[row : row + 1]) for row in range(40)])
    assert are_alike(sums(floats), alone).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[::-1],  # another order
        lambda x: x[:, :, ::-1],
        lambda x: np.roll(x, 1, axis=1),
        lambda x: x * 1.01,
        lambda x: x + 1,
        lambda x: np.where(np.arange(20)[:, None] == 3, 128.5, x),  # one column
        lambda x: RandomAffine(0.02, 1, 0.01)(x, training=True).numpy(),
    ],
)
def test_other_images_are_others(change):
    floats = IMAGES.astype(np.float32)
    assert not are_alike(sums(floats), sums(np.float32(change(floats)))).any()


def test_black_images_are_alike_and_what_is_not_finite_is_like_none():
    black = np.zeros((2, 4, 4, 1), np.float32)
    assert are_alike(sums(black), sums(black)).all()
    broken = sums(black + np.nan)
    assert not are_alike(broken, broken).any()
    assert not are_alike(sums(black), broken).any()
