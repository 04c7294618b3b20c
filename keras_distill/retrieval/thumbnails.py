"""Small pictures of a catalogue, in sheets, for those who look at what is found."""

import numpy as np

FOLDER = "thumbnails"
COLUMNS = ROWS = 32  # of a sheet
LARGEST = 64  # pixels of the longer side of a thumbnail
_BATCH = 256


def write_thumbnails(folder, catalogue):
    """Writes thumbnails of all images of a catalogue, 1,024 a sheet.

    An image longer than 64 pixels is reduced to that; others stay as they are. Sheet n
    holds images `1024 n` to `1024 n + 1023`, row by row, from the top left; those that
    the last one lacks are white. Sheets are lossless: PNG of grey, WebP of colour.

    Args:
        folder: `pathlib.Path` of a bundle; they come into `thumbnails/` there.
        catalogue: `keras_distill.data.ImageSet`.

    Returns:
        Dictionary for the manifest: `sheets`, the names of the files, `columns` and
        `rows` of each, and `height` and `width` of a thumbnail in pixels.
    """
    from PIL import Image

    height, width, channels = catalogue.image_shape
    scale = min(1, LARGEST / max(height, width))
    height, width = max(1, round(height * scale)), max(1, round(width * scale))
    per_sheet = COLUMNS * ROWS
    suffix = "png" if channels == 1 else "webp"
    (folder / FOLDER).mkdir()
    names = []
    for start in range(0, len(catalogue), per_sheet):
        chosen = range(start, min(start + per_sheet, len(catalogue)))
        sheet = np.full((ROWS, height, COLUMNS, width, channels), 255, np.uint8)
        for first in range(0, len(chosen), _BATCH):
            some = chosen[first : first + _BATCH]
            for place, image in enumerate(catalogue.read(some), first):
                row, column = divmod(place, COLUMNS)
                sheet[row, :, column] = _reduced(image, height, width)
        pixels = sheet.reshape(ROWS * height, COLUMNS * width, channels)
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        names.append(f"{FOLDER}/{len(names):04d}.{suffix}")
        picture.save(folder / names[-1], lossless=True, optimize=True)
    return {
        "sheets": names,
        "columns": COLUMNS,
        "rows": ROWS,
        "height": height,
        "width": width,
    }


def _reduced(image, height, width):
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(height, width, -1)
