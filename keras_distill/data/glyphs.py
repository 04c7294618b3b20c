"""Characters drawn from the fonts that Matplotlib carries: data with no download.

A class is a character, an image is that character in one font. Characters that a
reader could not tell apart are one class, found by comparing their drawings.
"""

import hashlib
import os
import pathlib
import sys
import unicodedata
import warnings
import zipfile
import zlib

import numpy as np

from keras_distill import atomic
from keras_distill.data.fonts import font_files, font_outlines
from keras_distill.data.glyph_drawing import MARGIN, draw_outlines
from keras_distill.data.image_set import ImageSet
from keras_distill.data.look_alikes import OUTLINE, TOLERANCE, distinct, look_alikes
from keras_distill.data.progress import progress

MIN_IMAGES = 4  # different drawings of a class
_VERSION = 3  # of the rules by which the set is made
_ARRAYS = ("images", "labels", "class_names", "ids", "synonyms")  # of the cache


def glyphs(image_size=32, channels=1):
    """All glyphs as one set; drawn on first use, then read from a cache.

    Fonts are those of DejaVu, STIX and Computer Modern. A character is taken where
    a font's character map has it and its glyph leaves ink; private, unassigned,
    control and white space code points are not. Computer Modern's fonts are mapped
    by glyph name: their character maps are TeX's slots, not Unicode (`fonts.py`). A
    glyph is drawn dark (0) on white (255), antialiased, scaled to fill the image
    but for a margin of one sixteenth on each side, and centred.

    Characters are one class when in some font their drawings of 64 x 64 pixels are
    alike to 0.2 % (squared difference by squared ink), or equal in two fonts;
    transitively. So A, Greek Alpha and Cyrillic A are one class, and so are the
    letters of upright and slanted mathematical alphabets. Size and place do not
    count: a full stop, a bullet and a black circle are one. Drawings of a class
    that are alike by the same measure count once, and classes with fewer than 4
    drawings are left out.

    Class names are code point and Unicode name of the lowest character
    (`"U+0041 LATIN CAPITAL LETTER A"`), so that globs may ask for `"*CYRILLIC*"` or
    `"U+00*"`. Ids are `"glyphs/U+0041/DejaVuSans-Bold"`, with `"+U+0410"` after them
    where a look-alike of the class is drawn differently in the same font. The other
    characters of a class are its synonyms (`ImageSet.synonyms`), named likewise.

    The cache is in `KERAS_DISTILL_CACHE`, or in `keras_distill` under
    `XDG_CACHE_HOME` or `~/.cache`; its name holds a hash of the fonts. A broken
    cache is made anew, with a warning; one that cannot be written is done without.

    Args:
        image_size: `(height, width)` or one number, each from 8 to 128.
        channels: 1, or 3 (three times the same). Defaults to 1.

    Returns:
        An `ImageSet` named `"glyphs"`.

    Raises:
        ValueError: If the size is out of range.
        FileNotFoundError: If Matplotlib's fonts are not where they should be.
    """
    height, width = (int(n) for n in np.broadcast_to(image_size, 2))
    if not (8 <= height <= 128 and 8 <= width <= 128):
        raise ValueError(
            "Glyphs are drawn at sizes from 8 to 128 pixels. "
            f"Received: image_size={image_size}"
        )
    cache = _cache_folder() / f"glyphs-{height}x{width}-{_key()}.npz"
    drawn = _read(cache)
    if drawn is None:
        print(
            f"Drawing the glyphs from Matplotlib's fonts, once; kept in {cache}",
            file=sys.stderr,
            flush=True,
        )
        drawn = _draw(height, width)
        _write(cache, drawn)
    images = np.repeat(drawn["images"], channels, axis=-1)
    images.flags.writeable = False
    return ImageSet(
        images,
        drawn["labels"],
        drawn["class_names"].tolist(),
        drawn["ids"].tolist(),
        "glyphs",
        synonyms={
            name: others.split("\n")
            for name, others in zip(
                drawn["class_names"].tolist(), drawn["synonyms"].tolist(), strict=True
            )
            if others
        },
    )


def _draw(height, width):
    """Images, labels, class names, ids and synonyms, as a dict of arrays."""
    names, codes, outlines = [], [], []
    files = font_files()
    for path in progress(files, len(files), "glyphs: reading fonts"):
        for code, outline in font_outlines(path).items():
            names.append(path.stem)
            codes.append(code)
            outlines.append(outline)
    names, codes = np.array(names), np.array(codes)
    compared = _drawn(outlines, OUTLINE, OUTLINE, 0, "glyphs: comparing")
    classes = look_alikes(compared, codes, names)
    # By class, then font, then code point: the first of equal drawings is kept.
    kept = distinct(compared, np.lexsort((codes, names, classes)), classes)
    kept = kept[np.bincount(classes[kept])[classes[kept]] >= MIN_IMAGES]
    images = _drawn(
        [outlines[row] for row in kept], height, width, MARGIN, "glyphs: drawing"
    )
    firsts, labels = np.unique(classes[kept], return_inverse=True)
    return {
        "images": 255 - images[..., None],
        "labels": labels.astype(np.int32),
        "class_names": np.array([_class_name(code) for code in firsts]),
        "ids": np.array(_ids(names[kept], codes[kept], classes[kept])),
        "synonyms": np.array([_synonyms(codes[classes == c], c) for c in firsts]),
    }


def _drawn(outlines, height, width, margin, description):
    parts = [outlines[start : start + 500] for start in range(0, len(outlines), 500)]
    return np.concatenate(
        [
            draw_outlines(part, height, width, margin)
            for part in progress(parts, len(parts), description)
        ]
    )


def _ids(names, codes, classes):
    ids, used = [], set()
    for name, code, first in zip(names, codes, classes, strict=True):
        plain = f"glyphs/{_code(first)}/{name}"
        ids.append(f"{plain}+{_code(code)}" if plain in used else plain)
        used.add(plain)
    return ids


def _synonyms(codes, first):
    """Names of the characters but the first, one a line."""
    return "\n".join(_class_name(code) for code in np.unique(codes) if code != first)


def _class_name(code):
    return f"{_code(code)} {unicodedata.name(chr(code), '(unnamed)')}"


def _code(code):
    return f"U+{code:04X}"


def _key():
    """Hash of everything the drawings depend on."""
    parts = hashlib.sha256(f"{_VERSION} {MIN_IMAGES} {OUTLINE} {TOLERANCE}".encode())
    for path in font_files():
        parts.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return parts.hexdigest()[:12]


def _cache_folder():
    if named := os.environ.get("KERAS_DISTILL_CACHE"):
        return pathlib.Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home, "keras_distill")


def _read(cache):
    if not cache.exists():
        return None
    try:
        # numpy would not close a file that it finds broken.
        with open(cache, "rb") as stream, np.load(stream) as file:
            return {name: file[name] for name in _ARRAYS}
    except (OSError, ValueError, KeyError, EOFError, zlib.error, zipfile.BadZipFile):
        warnings.warn(
            f"The cached glyphs in {cache} are broken and are drawn again.",
            stacklevel=4,
        )
        return None


def _write(cache, drawn):
    try:
        with atomic.file(cache) as temporary:
            np.savez_compressed(temporary, **drawn)
    except OSError as error:
        warnings.warn(
            f"The glyphs cannot be kept in {cache} ({error}); they are drawn anew "
            "next time. `KERAS_DISTILL_CACHE` names another folder.",
            stacklevel=4,
        )
