"""Cut a window out of every image and enlarge it to the size of the image."""

from keras import ops


def enlarged_window(images, cut, across, down):
    """Shows a part of every image at the size of the whole, bilinearly.

    Pixels are squares: the edges of the window become the edges of the image. What
    lies half a pixel beyond the edge of the image repeats it.

    Args:
        images: float32 `(batch, height, width, channels)`.
        cut: float32 `(batch,)` in [0, 1): part of height and of width that is cut
            away; 0 leaves the image as it is.
        across: float32 `(batch,)` in [-1, 1]: -1 keeps the left edge, 1 the right.
        down: float32 `(batch,)` in [-1, 1]: -1 keeps the upper edge, 1 the lower.

    Returns:
        float32, of the shape of `images`.
    """
    height, width = (ops.cast(n, "float32") for n in ops.shape(images)[1:3])
    side = 1 - cut
    # The centre of pixel i is i + 0.5: from + 0.5 = start + side * (to + 0.5).
    to_centre = (side - 1) / 2
    from_x = (across + 1) / 2 * cut * width + to_centre
    from_y = (down + 1) / 2 * cut * height + to_centre
    zero = ops.zeros_like(cut)
    maps = [side, zero, from_x, zero, side, from_y, zero, zero]
    return ops.image.affine_transform(
        images,
        ops.stack(maps, axis=1),
        interpolation="bilinear",
        fill_mode="nearest",
        data_format="channels_last",
    )
