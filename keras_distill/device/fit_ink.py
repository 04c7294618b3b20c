"""Drawings to the pixels of a network: cut out and scaled as printed characters are."""

import numpy as np

MARGIN = 1 / 16  # of height and width, left free on each side
LEAST_CONTRAST = 32  # grey levels between paper and ink


def fit_ink(drawing, image_shape):
    """Cuts a drawing out of its paper and scales it to fill an image.

    Grey levels are stretched to reach from 0 to 255, and what is darker than their
    middle is ink. The smallest rectangle that holds it is scaled, its proportions
    kept, until it fills the image but for a margin of a sixteenth on each side, and is
    centred on white: so are the images of `keras_distill.data.glyphs`, whatever the
    size and the place of a character.

    Args:
        drawing: uint8 array `(height, width)`, dark ink on light paper.
        image_shape: `(height, width, channels)` of the image to make; channels are
            all the same.

    Returns:
        uint8 array of `image_shape`.

    Raises:
        TypeError: If `drawing` is not uint8.
        ValueError: If it is not of rank 2, or there is no ink: less than 32 grey levels
            between the darkest and the lightest pixel.
    """
    from PIL import Image

    drawing = np.asarray(drawing)
    if drawing.dtype != np.uint8:
        raise TypeError(
            "`drawing` must be uint8 pixel values 0 to 255. "
            f"Received: drawing.dtype={drawing.dtype}"
        )
    if drawing.ndim != 2 or not drawing.size:
        raise ValueError(
            "`drawing` must be grey, (height, width). "
            f"Received: drawing.shape={drawing.shape}"
        )
    low, high = int(drawing.min()), int(drawing.max())
    if high - low < LEAST_CONTRAST:
        raise ValueError(
            f"There must be ink: at least {LEAST_CONTRAST} grey levels between the "
            f"darkest and the lightest pixel. Received: {low} to {high}"
        )
    levels = drawing.astype(np.int64) - low
    levels = ((levels * 255 + (high - low) // 2) // (high - low)).astype(np.uint8)
    rows, columns = np.nonzero(levels < 128)
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    cut = levels[top : bottom + 1, left : right + 1]
    height, width, channels = image_shape
    room = [side - 2 * _rounded(side * MARGIN) for side in (height, width)]
    scale = min(room[0] / cut.shape[0], room[1] / cut.shape[1])
    size = [max(1, _rounded(side * scale)) for side in cut.shape]
    scaled = Image.fromarray(cut).resize(
        size[::-1], Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    image = np.full((height, width, channels), 255, np.uint8)
    y, x = (height - size[0]) // 2, (width - size[1]) // 2
    image[y : y + size[0], x : x + size[1]] = np.asarray(scaled)[..., None]
    return image


def _rounded(number):
    """To the nearest integer, halves upwards: as JavaScript rounds, not Python."""
    return int(np.floor(number + 0.5))
