"""Parts of a picture as an embedder wants them."""

import numpy as np

from keras_distill.device.read_image import as_pixels, checked_shape, upright


def read_crops(file, boxes, image_shape, margin=0.0):
    """Cuts boxes out of an image file, each read as `read_image` reads a whole one.

    They are cut out of the file at its full size, in whole pixels: what a box touches
    belongs to it, at least one pixel does, and what lies outside the picture does not.

    Args:
        file: Path of an image, or a binary file object that can seek, see
            `read_image`.
        boxes: `(n, 4)`, x1 y1 x2 y2 in pixels of the file, upright, as `find` of a
            `DetectorBundle` gives them.
        image_shape: `(height, width, channels)` of the crops; channels are 1 or 3.
        margin: Float >= 0, how much is taken along at each side, as a part of the
            box's width or height, as far as the picture goes. Defaults to `0.0`.

    Returns:
        uint8 array `(n, height, width, channels)`; `n` may be 0.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no image, or an argument is not as described.
    """
    height, width, channels = checked_shape(image_shape)
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(
            "`boxes` must have shape (n, 4), x1 y1 x2 y2, and be finite. "
            f"Received: boxes={boxes}"
        )
    if not 0 <= margin < np.inf:
        raise ValueError(
            f"`margin` must be a number from 0 on. Received: margin={margin}"
        )
    image, _ = upright(file, channels)
    grown = np.tile(margin * (boxes[:, 2:] - boxes[:, :2]), 2) * (-1, -1, 1, 1)
    low, high = np.split(boxes + grown, 2, axis=1)
    # A millionth of a pixel is rounding, not a pixel that is touched.
    low = np.clip(np.floor(low + 1e-6), 0, np.subtract(image.size, 1)).astype(int)
    high = np.clip(np.ceil(high - 1e-6), low + 1, image.size).astype(int)
    crops = np.empty((len(boxes), height, width, channels), np.uint8)
    for row, corners in enumerate(np.hstack([low, high]).tolist()):
        crops[row] = as_pixels(image.crop(corners), height, width, channels)
    return crops
