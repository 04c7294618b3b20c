"""Blur each image of a batch by a Gaussian of its own width."""

from keras import ops

# Where the bell is cut off, in standard deviations: 6e-5 of it lie further out.
_REACH = 4.0


def gaussian_blur(images, sigmas, largest):
    """Convolves rows and columns of every image with a Gaussian.

    The bell is sampled at whole pixels up to `int(4 * sigma + 0.5)` and sums to 1; the
    edge of the image is repeated outside. This is `scipy.ndimage.gaussian_filter` with
    `mode="nearest"`, for one sigma an image.

    Args:
        images: float32 `(batch, height, width, channels)`.
        sigmas: float32 `(batch,)` in [0, largest], in pixels; 0 leaves the image as it
            is, bit for bit.
        largest: Number, or scalar tensor, that bounds `sigmas`: it alone determines
            how far the sums reach, so that they do not depend on the batch.

    Returns:
        float32, of the shape of `images`.
    """
    count, height, width, channels = ops.shape(images)
    # Convolutions of nothing are refused: an empty batch goes with a blank image.
    blank = 1 - ops.minimum(count, 1)
    sigmas = ops.concatenate([sigmas, ops.zeros((blank,), "float32")])
    blank_image = ops.zeros((blank, height, width, channels), "float32")
    images = ops.concatenate([images, blank_image])
    rows = count + blank
    reach = ops.cast(_REACH * largest + 0.5, "int32")
    # Every channel of every image is a channel of one image, with a filter of its own.
    flat = ops.transpose(images, (1, 2, 0, 3))
    flat = ops.reshape(flat, (1, height, width, rows * channels))
    filters = ops.repeat(_bells(sigmas, reach), channels, axis=1)
    flat = ops.take(flat, _beyond(height, reach), axis=1)
    flat = _convolved(flat, filters[:, None, :, None])
    flat = ops.take(flat, _beyond(width, reach), axis=2)
    flat = _convolved(flat, filters[None, :, :, None])
    blurred = ops.reshape(flat, (height, width, rows, channels))
    return ops.transpose(blurred, (2, 0, 1, 3))[:count]


def _bells(sigmas, reach):
    """`(2 * reach + 1, batch)`: the weights of the neighbours, which sum to 1."""
    away = ops.cast(ops.arange(-reach, reach + 1), "float32")[:, None]
    # Below 0.125 the bell is one pixel wide; above 0, no quotient is 0 by 0.
    sigmas = ops.maximum(sigmas, 0.01)
    bells = ops.exp(-0.5 * ops.square(away / sigmas))
    bells = ops.where(ops.abs(away) <= ops.floor(_REACH * sigmas + 0.5), bells, 0.0)
    return bells / ops.sum(bells, axis=0)


def _beyond(size, reach):
    """Places of a row that is continued by `reach` pixels, the edge repeated."""
    return ops.clip(ops.arange(-reach, size + reach), 0, size - 1)


def _convolved(images, filters):
    return ops.depthwise_conv(
        images, filters, padding="valid", data_format="channels_last"
    )
