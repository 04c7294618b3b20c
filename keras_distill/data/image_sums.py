"""A few numbers that tell images apart and survive the last bit of a float."""

import numpy as np
import tensorflow as tf

from keras_distill.data.split_mix import split_mix

TOLERANCE = 1e-4  # of the image's root mean square
_SUMS = 4


def image_sums(images):
    """Sums of the pixels under random signs, which are the same for good.

    Images whose pixels differ by d (root mean square) differ by about d in each of
    the four sums, up to chance; arithmetic in another order changes them by 1e-6 of
    the image. A checksum of the bytes would call an image another one when another
    machine rounds its last bit the other way.

    Args:
        images: Tensor `(B, H, W, C)`, integers or floats; H, W and C static.

    Returns:
        float32 `(B, 5)`: the sums over the square root of H * W * C, and the root mean
        square of the image.
    """
    pixels = int(np.prod(images.shape[1:]))
    bits = split_mix(np.arange(_SUMS), np.arange(pixels)[:, None]) >> np.uint64(63)
    signs = tf.constant((2.0 * bits - 1).astype(np.float32))
    flat = tf.reshape(tf.cast(images, tf.float32), (-1, pixels))
    sums = tf.matmul(flat, signs) / np.float32(np.sqrt(pixels))
    size = tf.sqrt(tf.reduce_mean(flat**2, axis=1, keepdims=True))
    return tf.concat([sums, size], axis=1)


def are_alike(sums, others):
    """Whether images are the same, by their sums.

    Args:
        sums: float32 `(B, 5)`, see `image_sums`.
        others: The same.

    Returns:
        Boolean `(B,)`; an image that is not finite is like none.
    """
    size = np.maximum(np.abs(sums[:, -1]), np.abs(others[:, -1]))
    return (np.abs(sums - others) <= TOLERANCE * size[:, None]).all(axis=1)
