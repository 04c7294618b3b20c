"""A picture of what a search has found: each query, and beside it its neighbours."""

import numpy as np

from export.answers import USEFUL

CELL, GAP, LINE = 96, 10, 13  # pixels: a picture, what lies between two, a line of text
NAME = 152  # pixels that names may take
PHOTO = 960  # pixels of the longer side of a photo in which things were found
MATCH, OTHER, INK, SOFT = "#1b9e4b", "#c9c9c9", "#202124", "#6b7075"
# Told apart by those who see red and green alike.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def of_images(results, bundle):
    """Draws one row an image: the image, then its neighbours.

    A neighbour that the bundle's threshold calls a match has a green frame. Below it
    are its cosine and its id.

    Args:
        results: As `answers.show` takes them.
        bundle: The `keras_distill.device.Bundle` that was asked.

    Returns:
        A Pillow image.
    """
    found = _Found(bundle)
    return _stacked(
        [
            found.row(_opened(result["image"]), result["image"], result)
            for result in results
        ]
    )


def of_group(result, bundle):
    """Draws the images of a group, what each weighs, and what they find together.

    Args:
        result: As `answers.show_group` takes it.
        bundle: See `of_images`.
    """
    members = [
        _cell(_opened(image["image"]), f"weighs {image['weight']:.2f}", image["image"])
        for image in result["images"]
    ]
    found = map(_Found(bundle).neighbour, result["neighbours"])
    return _stacked([_beside(members), _beside([*found])])


def of_objects(results, bundle):
    """Draws each photo with the boxes that were found, and a row for each of them.

    Args:
        results: As `answers.show_objects` takes them.
        bundle: See `of_images`.
    """
    parts, found = [], _Found(bundle)
    for result in results:
        photo = _opened(result["image"])
        classes = sorted({thing["class"] for thing in result["objects"]})
        parts.append(_with_boxes(photo, result["objects"], classes))
        for number, thing in enumerate(result["objects"], 1):
            crop = photo.crop(_corners(thing["box"]))
            parts.append(found.row(crop, f"{number} {thing['class']}", thing))
    return _stacked(parts)


class _Found:
    """Draws what is found in the catalogue of a bundle."""

    def __init__(self, bundle):
        self._bundle = bundle
        self._rows = {name: row for row, name in enumerate(bundle.ids)}

    def row(self, query, name, result):
        refused = result.get("no_match") and result["known_accepted"] >= USEFUL
        first = _cell(query, "not in the catalogue" if refused else "", name)
        return _beside([first, *map(self.neighbour, result["neighbours"])])

    def neighbour(self, one):
        picture = None
        if "thumbnails" in self._bundle.manifest:
            from PIL import Image

            picture = Image.fromarray(self._bundle.thumbnail(self._rows[one["id"]]))
        frame = MATCH if one.get("match") else OTHER
        return _cell(picture, f"{one['score']:.3f}", one["id"], frame)


def _cell(picture, said, name, frame=SOFT):
    """A picture, or none, in its frame; below it one line or two."""
    from PIL import Image, ImageDraw

    cell = Image.new("RGB", (NAME, CELL + 4 + 2 * LINE), "white")
    left = (NAME - CELL) // 2
    if picture is not None:
        shown = picture.convert("RGB")
        scale = (CELL - 4) / max(shown.size)
        small = scale >= 2  # pixels of an icon stay pixels
        kind = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
        shown = shown.resize([max(1, round(scale * n)) for n in shown.size], kind)
        corner = [(CELL - side) // 2 for side in shown.size]
        cell.paste(shown, (left + corner[0], corner[1]))
    draw = ImageDraw.Draw(cell)
    draw.rectangle((left, 0, left + CELL - 1, CELL - 1), outline=frame, width=2)
    lines = [(text, ink) for text, ink in ((said, INK), (name, SOFT)) if text]
    for line, (text, ink) in enumerate(lines):
        _write(draw, CELL + 2 + line * LINE, text, ink)
    return cell


def _write(draw, y, text, colour):
    """Writes a line, centred; of a name that is too long the end, which tells more."""
    width, shown = NAME - 4, text
    while shown and draw.textlength(shown) > width:
        text = text[1:]
        shown = f"...{text}"
    draw.text(((NAME - draw.textlength(shown)) / 2, y), shown, colour)


def _with_boxes(photo, things, classes):
    from PIL import Image, ImageDraw

    scale = PHOTO / max(photo.size)
    shown = photo.convert("RGB").resize(
        [max(1, round(scale * n)) for n in photo.size], Image.Resampling.LANCZOS
    )
    draw = ImageDraw.Draw(shown)
    for number, thing in enumerate(things, 1):
        colour = COLOURS[classes.index(thing["class"]) % len(COLOURS)]
        x1, y1, x2, y2 = (scale * side for side in thing["box"])
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=3)
        said = f"{number} {thing['class']}"
        right = x1 + draw.textlength(said) + 6
        draw.rectangle((x1, y1, right, y1 + LINE + 2), fill=colour)
        draw.text((x1 + 3, y1 + 1), said, "white")
    return shown


def _corners(box):
    """Whole pixels that hold a box, at least one."""
    x1, y1 = (int(np.floor(side)) for side in box[:2])
    return x1, y1, max(x1 + 1, int(np.ceil(box[2]))), max(y1 + 1, int(np.ceil(box[3])))


def _opened(path):
    """An image as people see it: upright, on white."""
    from keras_distill.device.read_image import upright

    return upright(path, 3)[0]


def _beside(cells):
    return _pasted(cells, 0)


def _stacked(parts):
    from PIL import ImageOps

    return ImageOps.expand(_pasted(parts, 1), GAP, "white")


def _pasted(parts, axis):
    """Images in a line along x (0) or y (1)."""
    from PIL import Image

    sizes = np.array([part.size for part in parts]).reshape(-1, 2)
    size = sizes.max(axis=0, initial=1)
    size[axis] = max(1, sizes[:, axis].sum() + GAP * (len(parts) - 1))
    sheet = Image.new("RGB", size.tolist(), "white")
    corner = [0, 0]
    for part in parts:
        sheet.paste(part, tuple(corner))
        corner[axis] += part.size[axis] + GAP
    return sheet
