"""Where the instances of an image lie on a detector's feature maps.

Boxes are `(x1, y1, x2, y2)` in pixels of the network's input, padded to a fixed number
an image; all of them are handled at once, in static shapes. A cell (y, x) of a map of
stride s covers the pixels from (y s, x s) to ((y + 1) s, (x + 1) s).
"""

from keras import ops

from keras_distill import ranges


def pool_instances(feature_map, boxes, stride):
    """Mean feature of each box: all cells that it touches, wholly.

    Columns `floor(x1 / stride)` to `floor(x2 / stride)` and rows likewise, both ends
    included. An integer crop, no RoIAlign: no cell is weighed by its share. (The mask
    of `foreground_mask` leaves the last cell out: two conventions, both the authors'.)

    Boxes are cut off at the edges of the map, and one that lies beyond an edge gets the
    cell there. Of a coordinate below 0 the authors' code takes the absolute value.

    Args:
        feature_map: `(H, W, C)`, or `(B, H, W, C)` with H and W known.
        boxes: `(N, 4)`, or `(B, N, 4)`.
        stride: Number > 0, pixels a cell.

    Returns:
        Float32 `(N, C)`, or `(B, N, C)`. The gradient reaches the map alone.

    Raises:
        ValueError: If the shapes are none of these, or `stride` is not positive.
    """
    feature_map = ops.cast(ops.convert_to_tensor(feature_map), "float32")
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    received = (
        f"Received: feature_map.shape={tuple(feature_map.shape)}, "
        f"boxes.shape={tuple(boxes.shape)}"
    )
    if len(feature_map.shape) == 3 and len(boxes.shape) == 2:
        return pool_instances(feature_map[None], boxes[None], stride)[0]
    if len(feature_map.shape) != 4 or len(boxes.shape) != 3 or boxes.shape[-1] != 4:
        raise ValueError(
            "`feature_map` must have shape (H, W, C) and `boxes` (N, 4), or both a "
            f"batch axis before these. {received}"
        )
    height, width, channels = feature_map.shape[1:]
    if height is None or width is None:
        raise ValueError(
            f"`feature_map` must have a known height and width. {received}"
        )
    x1, y1, x2, y2 = _cells(boxes, stride)
    rows, columns = _touched(y1, y2, height), _touched(x1, x2, width)  # (B, N, size)
    cells = ops.expand_dims(rows, -1) * ops.expand_dims(columns, -2)
    cells = ops.reshape(cells, (-1, ops.shape(boxes)[1], height * width))
    flat = ops.reshape(feature_map, (-1, height * width, channels))
    return ops.matmul(cells, flat) / ops.sum(cells, axis=-1, keepdims=True)


def instance_levels(boxes, levels, base=56.0, extent=1.0):
    """Which level of a pyramid an instance belongs to, by its size.

        floor(log2(sqrt((w + extent) (h + extent)) / base + 1e-6)), within the levels

    Args:
        boxes: `(..., 4)`.
        levels: Integer >= 1, how many there are; 0 is the finest.
        base: Float > 0: from this side on a square leaves the finest level at twice
            its size. 56 belongs to images of 800 pixels: with smaller ones nearly all
            instances would be on level 0.
        extent: What is added to both sides. The authors' mask takes 1, their RoI
            extractor 0.

    Returns:
        int32 `(...)` in [0, levels).
    """
    ranges.count(1, levels=levels)
    ranges.positive(base=base)
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    # Padding and boxes turned inside out have no logarithm; they count nowhere.
    sides = ops.maximum(boxes[..., 2:] - boxes[..., :2] + extent, 0.0)
    size = ops.sqrt(sides[..., 0] * sides[..., 1])
    level = ops.floor(ops.log2(size / base + 1e-6))
    return ops.cast(ops.clip(level, 0, levels - 1), "int32")


def foreground_mask(boxes, weights, present, grid, stride):
    """The weight of the instance that each cell of a map belongs to.

    An instance has the columns from `floor(x1 / stride)` up to `floor(x2 / stride)`,
    which is excluded, and rows likewise. Boxes are drawn in their order, and a later
    one overwrites an earlier. One that is thinner than a cell has the single cell at
    its upper left corner, and raises its weight, but does not lower it.

    Args:
        boxes: `(B, M, 4)`.
        weights: `(B, M)`.
        present: Boolean `(B, M)`: which boxes there are, on this level.
        grid: `(height, width)` of the map, integers.
        stride: Number > 0, pixels a cell.

    Returns:
        Float32 `(B, height, width)`, without gradient; 0 where there is no instance.
    """
    height, width = grid
    weights = ops.cast(ops.stop_gradient(weights), "float32")
    x1, y1, x2, y2 = _cells(boxes, stride)
    left, right = ops.clip(x1, 0, width), ops.clip(x2, 0, width)
    top, bottom = ops.clip(y1, 0, height), ops.clip(y2, 0, height)
    thin = ops.logical_or(left >= right, top >= bottom)
    corner_x, corner_y = ops.minimum(left, width - 1), ops.minimum(top, height - 1)
    right = ops.where(thin, corner_x + 1, right)
    bottom = ops.where(thin, corner_y + 1, bottom)
    covered = ops.logical_and(
        ops.expand_dims(_between(corner_y, bottom, height), -1),
        ops.expand_dims(_between(corner_x, right, width), -2),
    )  # (B, M, h, w)
    covered = ops.logical_and(covered, present[..., None, None])
    thin = thin[..., None, None]
    order = ops.arange(1, ops.shape(boxes)[1] + 1, dtype="int32")[:, None, None]
    drawn = ops.logical_and(covered, ops.logical_not(thin))
    last = ops.max(ops.where(drawn, order, 0), axis=1, keepdims=True)
    weights = weights[..., None, None]
    own = ops.logical_and(drawn, order == last)
    under = ops.sum(ops.where(own, weights, 0.0), axis=1)
    above = ops.logical_and(ops.logical_and(covered, thin), order > last)
    over = ops.max(ops.where(above, weights, -1e30), axis=1)
    return ops.maximum(under, over)


def clip_boxes(boxes, height, width):
    """Boxes within an image; what lies outside altogether loses its area.

    Args:
        boxes: `(..., 4)`.
        height: Number, of the image, or a scalar tensor.
        width: The same.

    Returns:
        Float32 `(..., 4)`.
    """
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    x1, y1, x2, y2 = ops.unstack(boxes, 4, axis=-1)
    height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
    xs = [ops.clip(x, 0.0, width) for x in (x1, x2)]
    ys = [ops.clip(y, 0.0, height) for y in (y1, y2)]
    return ops.stack([xs[0], ys[0], xs[1], ys[1]], axis=-1)


def instances(boxes, labels, classes, mask=None):
    """Which of padded boxes are instances: of a known class, and of some area.

    Args:
        boxes: `(..., 4)`, clipped to the image.
        labels: Integers `(...)`; padding has a negative one.
        classes: Integer, how many there are, or `None` for no limit.
        mask: Boolean `(...)`, or `None`.

    Returns:
        Boolean `(...)`.
    """
    area = ops.logical_and(boxes[..., 2] > boxes[..., 0], boxes[..., 3] > boxes[..., 1])
    known = labels >= 0
    if classes is not None:
        known = ops.logical_and(known, labels < classes)
    found = ops.logical_and(area, known)
    return found if mask is None else ops.logical_and(found, ops.cast(mask, "bool"))


def _cells(boxes, stride):
    """Columns and rows of the corners, `(..., )` int32 each."""
    ranges.positive(stride=stride)
    boxes = ops.cast(ops.convert_to_tensor(boxes), "float32")
    # A coordinate that no integer holds is outside every map.
    cells = ops.clip(ops.floor(boxes / stride), -1.0, 2.0**24)
    return ops.unstack(ops.cast(cells, "int32"), 4, axis=-1)


def _touched(first, last, size):
    """`(..., size)`: 1 for the cells from first to last, cut off, else 0."""
    first = ops.clip(first, 0, size - 1)
    last = ops.clip(ops.maximum(last, first), 0, size - 1)
    return ops.cast(_between(first, last + 1, size), "float32")


def _between(start, stop, size):
    cells = ops.arange(size, dtype="int32")
    start, stop = ops.expand_dims(start, -1), ops.expand_dims(stop, -1)
    return ops.logical_and(cells >= start, cells < stop)
