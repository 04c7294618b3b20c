"""Small pictures of a catalogue, in sheets, for those who look at what is found."""

import itertools

import numpy as np

FOLDER = "thumbnails"
COLUMNS = ROWS = 32  # of a sheet
LARGEST = 64  # pixels of the longer side of a thumbnail
_BATCH = 256


def thumbnails(images):
    """Yields the thumbnail of each image of a set, uint8 `(height, width, channels)`.

    An image longer than 64 pixels is reduced to that; others stay as they are.

    Args:
        images: `keras_distill.data.ImageSet`.
    """
    height, width = _size(images.image_shape)
    for start in range(0, len(images), _BATCH):
        some = images.read(range(start, min(start + _BATCH, len(images))))
        yield from (_reduced(image, height, width) for image in some)


def write_thumbnails(folder, pictures, image_shape):
    """Writes the thumbnails of a catalogue, 1,024 a sheet.

    Sheet n holds images `1024 n` to `1024 n + 1023`, row by row, from the top left;
    those that the last one lacks are white. Sheets are lossless: PNG of grey, WebP of
    colour.

    Args:
        folder: `pathlib.Path` of a bundle; they come into `thumbnails/` there.
        pictures: Iterable of what `thumbnails` yields, or a bundle's `thumbnail` gives,
            at least one.
        image_shape: `(height, width, channels)` of the images.

    Returns:
        Dictionary for the manifest: `sheets`, the names of the files, `columns` and
        `rows` of each, and `height` and `width` of a thumbnail in pixels.
    """
    height, width = _size(image_shape)
    channels, names = image_shape[2], []
    (folder / FOLDER).mkdir()
    pictures = iter(pictures)
    while some := list(itertools.islice(pictures, COLUMNS * ROWS)):
        sheet = np.full((ROWS, height, COLUMNS, width, channels), 255, np.uint8)
        for place, picture in enumerate(some):
            row, column = divmod(place, COLUMNS)
            sheet[row, :, column] = np.reshape(picture, (height, width, channels))
        names.append(_save(folder, len(names), sheet))
    return {
        "sheets": names,
        "columns": COLUMNS,
        "rows": ROWS,
        "height": height,
        "width": width,
    }


def _save(folder, number, sheet):
    from PIL import Image

    rows, height, columns, width, channels = sheet.shape
    pixels = sheet.reshape(rows * height, columns * width, channels)
    grey = channels == 1
    name = f"{FOLDER}/{number:04d}.{'png' if grey else 'webp'}"
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    picture.save(folder / name, lossless=True, optimize=True)
    return name


def _size(image_shape):
    height, width, _ = image_shape
    scale = min(1, LARGEST / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _reduced(image, height, width):
    from PIL import Image

    if image.shape[:2] == (height, width):
        return image
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(height, width, -1)
