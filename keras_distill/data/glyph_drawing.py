"""Draws the characters of a font, each scaled to fill its image."""

import math

import numpy as np

from keras_distill.data.progress import progress

MARGIN = 1 / 16  # of the image, on each side
_OVERSAMPLING = 4  # drawn at least so many times larger, then averaged
_LARGEST = 2048  # pixels of an em; only dots would need more


def draw_glyphs(path, characters, height, width, margin=MARGIN):
    """Draws characters of one font, white (255) on black.

    The ink's bounding box is centred and scaled, its proportions kept, until it
    fills the image but for the margin. Every pixel is the mean of the ink in it.

    Args:
        path: Path of the font file.
        characters: Integers: slots of the font's character map.
        height: Pixels.
        width: Pixels.
        margin: Part of height and of width left free on each side.

    Returns:
        A list with a uint8 array `(height, width)` for each character, or None
        where it leaves no ink.
    """
    from PIL import ImageFont

    sizes = {}

    def at(size):
        if size not in sizes:
            sizes[size] = ImageFont.truetype(
                str(path), size, layout_engine=ImageFont.Layout.BASIC
            )
        return sizes[size]

    room = (width * (1 - 2 * margin), height * (1 - 2 * margin))
    characters = [chr(code) for code in characters]
    return [
        _draw(at, character, room, (width, height))
        for character in progress(characters, len(characters), f"drawing {path.stem}")
    ]


def _draw(at, character, room, size):
    from PIL import Image

    box = at(64).getmask(character, "L").getbbox()
    if box is None:
        return None
    # By how much 64 pixels an em must grow for the ink to fill the room.
    factor = min(room[0] / (box[2] - box[0]), room[1] / (box[3] - box[1]))
    em = 64 * 2 ** math.ceil(math.log2(max(1.0, factor * _OVERSAMPLING)))
    mask = at(min(em, _LARGEST)).getmask(character, "L")
    left, top, right, bottom = mask.getbbox()
    # Source pixels for one pixel of the image, and the part of the source that the
    # image shows: more than there is, so the ink is laid on a larger sheet.
    step = max((right - left) / room[0], (bottom - top) / room[1])
    across, down = size[0] * step, size[1] * step
    middle = (left + right) / 2, (top + bottom) / 2
    edge = math.ceil(max(across, down))
    sheet = Image.new("L", (mask.size[0] + 2 * edge, mask.size[1] + 2 * edge))
    ink = Image.frombytes("L", mask.size, bytes(mask))
    sheet.paste(ink, (edge, edge))
    x, y = middle[0] + edge, middle[1] + edge
    view = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
    return np.asarray(sheet.resize(size, Image.Resampling.BOX, box=view))
