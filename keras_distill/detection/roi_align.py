"""Features of boxes, sampled where the boxes lie and not where cells do."""

from keras import ops


def roi_align(feature_map, boxes, stride, size=7, samples=2, aligned=True):
    """Averages of bilinear samples in a grid of bins over each box.

    He et al., ICCV 2017, https://arxiv.org/abs/1703.06870, section 3. A box is cut
    into `size` x `size` bins, each averaged over `samples` x `samples` points. A point
    between the centres of the outer cells and one cell outside of them has the value
    of the edge; further out it is 0.

    Bilinear sampling is linear along each axis, so that all of a box is `A_y F A_x^T`
    with two small matrices: no gathering, any backend, and TFLite's own operations.

    Args:
        feature_map: `(B, h, w, C)`.
        boxes: `(B, R, 4)`, x1 y1 x2 y2 in pixels of the image.
        stride: Pixels of a cell.
        size: Bins along each side.
        samples: Points along each side of a bin.
        aligned: Whether the centre of the first cell lies at half a stride, as it
            does. False is the older form: at 0, and no box is smaller than a cell.

    Returns:
        `(B, R, size, size, C)` in the dtype of the map; computed in float32.
    """
    dtype = feature_map.dtype
    feature_map = ops.cast(feature_map, "float32")
    rows, columns = sampling_matrices(
        boxes, ops.shape(feature_map)[1:3], stride, size, samples, aligned
    )
    return ops.cast(sampled(rows, feature_map, columns), dtype)


def sampling_matrices(boxes, map_size, stride, size, samples, aligned):
    """What `roi_align` multiplies a map with: `(B, R, size, h)`, `(B, R, size, w)`."""
    boxes = ops.cast(boxes, "float32") / stride - (0.5 if aligned else 0.0)
    height, width = map_size
    rows = _averages(boxes[..., 1], boxes[..., 3], height, size, samples, aligned)
    columns = _averages(boxes[..., 0], boxes[..., 2], width, size, samples, aligned)
    return rows, columns


def sampled(rows, feature_map, columns):
    """`(B, R, size, size, C)` of the matrices of `sampling_matrices` and a map."""
    lines = ops.einsum("brph,bhwc->brpwc", rows, feature_map)
    return ops.einsum("brpwc,brqw->brpqc", lines, columns)


def _averages(start, end, cells, size, samples, aligned):
    """`(B, R, size, cells)`: by what each cell counts in each bin, along one axis."""
    length = end - start
    if not aligned:
        length = ops.maximum(length, 1.0)
    steps = (ops.arange(size * samples, dtype="float32") + 0.5) / (size * samples)
    points = start[..., None] + steps * length[..., None]  # (B, R, size * samples)
    last = ops.cast(cells, "float32")
    inside = ops.cast((points >= -1) & (points <= last), "float32")
    points = ops.clip(points, 0.0, last - 1)
    distance = ops.abs(points[..., None] - ops.arange(cells, dtype="float32"))
    weights = ops.maximum(1 - distance, 0.0) * inside[..., None]
    shape = ops.shape(start)
    weights = ops.reshape(weights, (shape[0], shape[1], size, samples, cells))
    return ops.mean(weights, axis=3)
