"""Normal noise of every pixel that depends on its key and its place alone."""

import math

from keras import ops

_BITS = 2.0**23  # of a float32 number in [-1, 1) that comes from 24 random bits


def pixel_noise(keys, shape):
    """Standard normal numbers, a hash of a key of the image and the place in it.

    No generator is asked: the noise of an image is the same in whatever batch it
    comes. Each place is hashed to two uniform numbers of 24 bits, which the transform
    of Box and Muller (1958) makes a normal one, at most 5.8 in size.

    Args:
        keys: float32 `(batch, 2)` in [-1, 1]: two random numbers of each image.
        shape: `(height, width, channels)`, numbers or scalar tensors.

    Returns:
        float32 `(batch, height, width, channels)`.
    """
    height, width, channels = shape
    places = ops.cast(ops.arange(height * width * channels), "uint32")
    first, second = ops.unstack(ops.cast((keys + 1) * _BITS, "uint32"), axis=1)
    one = _uniform(_hash(first, _word(0x9E3779B9)), second, places)
    two = _uniform(_hash(first, _word(0x7F4A7C15)), second, places)
    # One minus it lies in (0, 1]: the logarithm is finite.
    normal = ops.sqrt(-2 * ops.log(1 - one)) * ops.cos(2 * math.pi * two)
    return ops.reshape(normal, (-1, height, width, channels))


def _uniform(first, second, places):
    """float32 `(batch, places)` in [0, 1), from 32-bit words `(batch,)`."""
    key = _hash(_hash(second, first), _word(0x632BE5AB))[:, None]
    # An odd step runs through all words before one comes again.
    words = _hash(key, places[None] * _word(0x9E3779B1))
    return ops.cast(ops.right_shift(words, _word(8)), "float32") / 2.0**24


def _hash(words, other):
    """32-bit words mixed with others: the last steps of MurmurHash3 (Appleby)."""
    words = words + other
    words = ops.bitwise_xor(words, ops.right_shift(words, _word(16)))
    words = words * _word(0x85EBCA6B)
    words = ops.bitwise_xor(words, ops.right_shift(words, _word(13)))
    words = words * _word(0xC2B2AE35)
    return ops.bitwise_xor(words, ops.right_shift(words, _word(16)))


def _word(number):
    return ops.convert_to_tensor(number, "uint32")
