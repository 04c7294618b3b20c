"""How much of every pixel a rectangle covers."""

from keras import ops


def covered_area(shares, leans, across, down, size):
    """Rectangles of given area at given places inside of images.

    A pixel that the edge runs through is covered in part, so that the covered area is
    `shares` of the image to the last digit, in images of any size.

    Args:
        shares: float32 `(batch,)` in [0, 1]: covered part of the area of the image.
        leans: float32 `(batch,)` in [-1, 1]: base-2 logarithm of the ratio of height
            and width of the rectangle, each as a part of those of the image; held
            where both fit into the image.
        across: float32 `(batch,)` in [-1, 1]: -1 lies at the left edge, 1 at the right.
        down: float32 `(batch,)` in [-1, 1]: -1 lies at the upper edge, 1 at the lower.
        size: `(height, width)` in pixels, numbers or scalar tensors.

    Returns:
        float32 `(batch, height, width, 1)` in [0, 1].
    """
    ratio = ops.exp2(leans)
    ratio = ops.clip(ratio, shares, 1 / ops.maximum(shares, 1e-6))
    rows = _covered(ops.sqrt(shares * ratio), down, size[0])
    columns = _covered(ops.sqrt(shares / ratio), across, size[1])
    return (rows[:, :, None] * columns[:, None, :])[..., None]


def _covered(parts, places, count):
    """`(batch, count)`: part of each pixel of a row that a segment covers."""
    length = ops.cast(count, "float32")
    starts = ((places + 1) / 2 * (1 - parts) * length)[:, None]
    ends = starts + (parts * length)[:, None]
    pixels = ops.cast(ops.arange(count), "float32")
    return ops.clip(ops.minimum(pixels + 1, ends) - ops.maximum(pixels, starts), 0, 1)
