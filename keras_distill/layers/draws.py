"""The numbers that random layers make their changes of."""

import keras
from keras import ops


def uniform_draws(images, count, generator):
    """Draws `count` numbers for each image.

    Args:
        images: `(batch, ...)`.
        count: Positive integer.
        generator: `keras.random.SeedGenerator`.

    Returns:
        float32 `(batch, count)` in [-1, 1), whatever the type of the images: half
        precision would leave a few thousand different changes.
    """
    return keras.random.uniform(
        (ops.shape(images)[0], count),
        minval=-1.0,
        maxval=1.0,
        dtype="float32",
        seed=generator,
    )
