"""The boxes that a detector starts from: some in every cell of its maps."""

import itertools

import numpy as np

RATIOS = (0.5, 1.0, 2.0)


def anchors(image_shape, strides, size, scales=(1.0,), ratios=RATIOS):
    """Boxes about the centres of the cells of each map of a pyramid.

    A map of stride s has `ceil(height / s)` rows and `ceil(width / s)` columns; the
    anchors of a cell have the areas `(size * s * scale)^2` and the ratios of height to
    width, scale after scale, in each all ratios. (keras_hub's `AnchorGenerator` lays
    them about the corners of the cells, with sides of whole pixels, ratio after ratio.)

    Args:
        image_shape: `(height, width, ...)` in pixels.
        strides: Dictionary from the name of a level to its stride in pixels.
        size: Float, side of the square anchors of scale 1, in strides.
        scales: Floats.
        ratios: Floats.

    Returns:
        Dictionary from each level to float32 `(rows * columns * A, 4)`, row after row
        of cells, A anchors each. They may leave the image.

    Raises:
        ValueError: If a number is not positive.
    """
    numbers = [size, *scales, *ratios, *strides.values(), *image_shape[:2]]
    if not all(0 < number < np.inf for number in numbers):
        raise ValueError(
            "Sizes, scales, ratios and strides must be positive. Received: "
            f"{image_shape=}, {strides=}, {size=}, {scales=}, {ratios=}"
        )
    return {
        level: _of_map(image_shape, stride, size * stride, scales, ratios)
        for level, stride in strides.items()
    }


def _of_map(image_shape, stride, size, scales, ratios):
    rows, columns = (-(-side // stride) for side in image_shape[:2])
    y, x = np.mgrid[:rows, :columns]
    centres = (np.stack([x, y], axis=-1) + 0.5) * stride  # (rows, columns, 2)
    sides = np.array(
        [
            (size * scale / ratio**0.5, size * scale * ratio**0.5)
            for scale, ratio in itertools.product(scales, ratios)
        ]
    )
    low = centres[:, :, None] - sides / 2
    boxes = np.concatenate([low, low + sides], axis=-1)
    return boxes.reshape(-1, 4).astype(np.float32)
