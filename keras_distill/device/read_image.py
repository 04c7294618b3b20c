"""The one way image files become pixels: in training, in export and on a device."""

import numpy as np

_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_PAPER = 255  # What shows through transparent pixels: white.
_ORIENTATION = 0x0112  # of EXIF
PADDING = 127  # Grey, near the 0 of networks that take [-1, 1].


def read_image(file, image_shape):
    """Reads an image file as the network wants it.

    The first frame is turned upright (EXIF), transparency is put on white, grey of
    16 bit is divided by 257 (not cut off), and the picture is stretched to the
    exact size with a bilinear filter as wide as the reduction, so that nothing
    aliases. Large JPEG files are reduced while they are decoded.

    Args:
        file: Path of an image, or a binary file object that can seek. PNG, JPEG,
            BMP, GIF, WebP, TIFF, PGM, PPM and whatever else Pillow reads.
        image_shape: `(height, width, channels)`; channels are 1 (grey, ITU-R 601
            luma) or 3 (RGB).

    Returns:
        uint8 array of `image_shape`, in [0, 255].

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `image_shape` is not as above; or if the file is no image, is
            truncated, or holds pixels without a known range (floats).
    """
    height, width, channels = checked_shape(image_shape)
    image, _ = upright(file, channels, 2 * max(width, height))
    return as_pixels(image, height, width, channels)


def read_letterboxed(file, image_shape):
    """Reads an image file as a detector wants it: its shape kept, the rest padded.

    Decoded as by `read_image`, but height and width are changed by one factor, as far
    as the picture fits into the size; it lies at the top left, and what is left over
    at the right or the bottom is grey (127).

    Args:
        file: As for `read_image`.
        image_shape: `(height, width, channels)`, channels 1 or 3.

    Returns:
        `(pixels, scale, size)`: uint8 array of `image_shape`; float64 `(2,)`, by what x
        and y of the file, in pixels, are multiplied; and `(width, height)` of the
        file, upright.

    Raises:
        FileNotFoundError, ValueError: As `read_image`.
    """
    height, width, channels = checked_shape(image_shape)
    image, size = upright(file, channels, 2 * max(width, height))
    factor = min(width / size[0], height / size[1])
    inner = [max(1, round(factor * side)) for side in size]
    pixels = np.full((height, width, channels), PADDING, np.uint8)
    pixels[: inner[1], : inner[0]] = as_pixels(image, inner[1], inner[0], channels)
    return pixels, np.divide(inner, size), size


def upright(file, channels, least=None):
    """The first frame of an image file as Pillow has it: upright, of 8 bit.

    Args:
        file: As for `read_image`.
        channels: 1 or 3.
        least: None, or the pixels that its sides need at least: large JPEG files are
            reduced while they are decoded.

    Returns:
        `(image, size)`: of mode "L" or "RGB"; and `(width, height)` of the file,
        which is more than that of the image where it was reduced.

    Raises:
        FileNotFoundError, ValueError: As `read_image`.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            size = image.size
            if image.getexif().get(_ORIENTATION, 1) > 4:  # it lies on its side
                size = size[::-1]
            if least is not None:
                # Twice the size leaves the filter that follows enough to average.
                image.draft(None, (least, least))
            image.load()
            image = ImageOps.exif_transpose(image)
            return _eight_bit(image, "L" if channels == 1 else "RGB"), size
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every kind.
        raise ValueError(
            f"Cannot read the image ({type(error).__name__}: {error}). "
            f"Received: file={file}"
        ) from error


def as_pixels(image, height, width, channels):
    """A Pillow image stretched to a size, see `read_image`.

    Args:
        image: Of mode "L" where `channels` is 1, else "RGB".
        height, width, channels: Positive integers.

    Returns:
        uint8 array `(height, width, channels)`.
    """
    from PIL import Image

    if image.size != (width, height):
        image = image.resize(
            (width, height), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
    return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def is_grey(file):
    """Whether an image file holds no colour, by its header alone.

    Args:
        file: As for `read_image`.

    Returns:
        True for 1, 8 and 16 bit grey, with or without transparency, and for
        palettes of greys. Grey pictures stored as RGB count as colour.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no image.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode in ("P", "PA"):
                palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
                return bool((palette == palette[:, :1]).all())
            return image.mode in _GREY
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"Cannot read the image ({type(error).__name__}: {error}). "
            f"Received: file={file}"
        ) from error


def checked_shape(image_shape):
    """`image_shape` as three ints; raises ValueError if it is no shape of images."""
    shape = tuple(image_shape)
    sizes = all(isinstance(n, int | np.integer) and n > 0 for n in shape)
    if len(shape) != 3 or not sizes or shape[2] not in (1, 3):
        raise ValueError(
            "`image_shape` must be (height, width, channels) with positive sizes "
            f"and 1 or 3 channels. Received: image_shape={image_shape}"
        )
    return tuple(int(n) for n in shape)


def _eight_bit(image, mode):
    """An image of any mode as "L" or "RGB"."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("floating point pixels have no known range")
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("grey values lie outside 16 bit")
        image = Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, (_PAPER, _PAPER, _PAPER, 255))
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert(mode)
