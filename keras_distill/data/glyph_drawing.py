"""Draws outlines, each scaled to fill its image."""

import numpy as np

MARGIN = 1 / 16  # of the image, on each side
_OVERSAMPLING = 4  # drawn so many times larger, then averaged


def draw_outlines(outlines, height, width, margin=MARGIN):
    """Draws outlines, white (255) on black, antialiased.

    The bounding box of each is centred and scaled, its proportions kept, until it
    fills the image but for the margin. Nothing is hinted or rounded to pixels, so
    outlines of one shape give one image, whatever their size and place.

    Args:
        outlines: Sequence of `matplotlib.path.Path`, y upwards.
        height: Pixels.
        width: Pixels.
        margin: Part of height and of width left free on each side.

    Returns:
        uint8 array `(len(outlines), height, width)`.
    """
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.transforms import Affine2D
    from PIL import Image

    size = (width * _OVERSAMPLING, height * _OVERSAMPLING)
    renderer = RendererAgg(*size, dpi=72)
    context = renderer.new_gc()
    context.set_linewidth(0)
    context.set_snap(False)
    images = np.empty((len(outlines), height, width), np.uint8)
    for image, outline in zip(images, outlines, strict=True):
        low, high = _bounds(outline)
        room = np.array(size) * (1 - 2 * margin)
        scale = min(room / np.maximum(high - low, 1e-9))
        place = Affine2D().translate(*(-(low + high) / 2)).scale(scale)
        place.translate(*(np.array(size) / 2))
        renderer.clear()
        renderer.draw_path(context, outline, place, rgbFace=(0, 0, 0))
        drawn = Image.frombuffer("RGBA", size, renderer.buffer_rgba())
        image[:] = np.asarray(drawn.getchannel("A").reduce(_OVERSAMPLING))
    return images


def _bounds(outline):
    """Lowest and highest `(x, y)` of the curve itself, not of its control points."""
    vertices, codes = outline.vertices, outline.codes
    on_curve = np.ones(len(codes), bool)
    middles = []
    quadratic = np.flatnonzero(codes == outline.CURVE3)[::2]
    if len(quadratic):
        on_curve[quadratic] = False
        a, b, c = (vertices[quadratic + shift] for shift in (-1, 0, 1))
        # Where the derivative of (1-t)^2 a + 2 t (1-t) b + t^2 c is 0, in x or in y.
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.nan_to_num(np.clip((a - b) / (a - 2 * b + c), 0, 1))
        middles.append((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c)
    points = np.concatenate([vertices[on_curve], *middles])
    return points.min(axis=0), points.max(axis=0)
