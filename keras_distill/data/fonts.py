"""Matplotlib's fonts, and the outlines of the characters each of them really holds."""

import contextlib
import functools
import logging
import pathlib
import unicodedata

import numpy as np

_FAMILIES = ("DejaVu", "STIX", "cm")
_TEX = "cm"  # fonts whose character map is not Unicode
_CALLIGRAPHIC = "cmsy10"  # its A to Z are script letters
# Names that TeX gives to other shapes than Adobe: its phi is straight, its red suits
# are outlines.
_TEX_NAMES = {"phi": 0x3D5, "phi1": 0x3C6, "heart": 0x2661, "diamond": 0x2662}


def font_files():
    """Paths of the fonts of the three families, in the order of their names.

    Raises:
        FileNotFoundError: If Matplotlib's folder holds none of them.
    """
    import matplotlib

    folder = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
    files = sorted(p for p in folder.glob("*.ttf") if p.name.startswith(_FAMILIES))
    if not files:
        raise FileNotFoundError(
            "Glyphs are drawn from the fonts that Matplotlib carries. "
            f"Received: none of {', '.join(_FAMILIES)} in folder={folder}"
        )
    return files


def font_outlines(path):
    """The outline of every character that a font draws.

    Code points that are private, unassigned, surrogates, controls, formats or
    spaces are left out, and so are glyphs without an outline and what the character
    map sends to `.notdef`. For DejaVu and STIX the map says the code point. The map
    of a Computer Modern font calls itself Unicode but numbers TeX's slots (`<` is
    an inverted exclamation mark): there the glyph's name says the code point, by
    Adobe's glyph list, and glyphs whose name is not in the list are left out.
    cmsy10's `A` to `Z` are left out too: named like letters, they are script.

    Args:
        path: `pathlib.Path` of a TrueType font.

    Returns:
        Dict from code point to `matplotlib.path.Path`, in the font's units with y
        upwards, in the order of code points.
    """
    from fontTools.ttLib import TTFont
    from matplotlib.path import Path

    outlines, collector = {}, _collector()
    with _quiet(), TTFont(path, lazy=True) as font:
        glyphs = font.getGlyphSet()
        for code, name in sorted(_characters(path, font).items()):
            pen = collector(glyphs)
            glyphs[name].draw(pen)
            if pen.codes:
                vertices = np.array(pen.vertices, np.float64)
                outlines[code] = Path(vertices, np.array(pen.codes, np.uint8))
    return outlines


@contextlib.contextmanager
def _quiet():
    """Keeps fontTools from reporting that cm fonts carry no date."""
    logger = logging.getLogger("fontTools.ttLib.tables._h_e_a_d")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _characters(path, font):
    """Dict from code point to name of glyph."""
    characters = {}
    for code, glyph in (font.getBestCmap() or {}).items():
        if path.name.startswith(_TEX):
            code = _named(glyph)
            if path.stem == _CALLIGRAPHIC and len(glyph) == 1:
                continue
        if code is None or glyph == ".notdef":
            continue
        if unicodedata.category(chr(code))[0] not in "CZ":
            characters.setdefault(code, glyph)
    return characters


def _named(glyph):
    """The code point that Adobe's glyph list gives to a name, or None."""
    from fontTools import agl

    if glyph in _TEX_NAMES:
        return _TEX_NAMES[glyph]
    text = agl.toUnicode(glyph)
    return ord(text) if len(text) == 1 else None


@functools.cache
def _collector():
    """A class of pens that note vertices and codes as `matplotlib.path.Path` does."""
    from fontTools.pens.basePen import BasePen
    from matplotlib.path import Path

    class Collector(BasePen):
        def __init__(self, glyphs):
            super().__init__(glyphs)
            self.vertices, self.codes = [], []

        def _add(self, code, *points):
            self.vertices += points
            self.codes += [code] * len(points)

        def _moveTo(self, point):
            self._add(Path.MOVETO, point)

        def _lineTo(self, point):
            self._add(Path.LINETO, point)

        def _qCurveToOne(self, control, point):
            self._add(Path.CURVE3, control, point)

        def _curveToOne(self, first, second, point):
            self._add(Path.CURVE4, first, second, point)

        def _closePath(self):
            start = len(self.codes) - 1 - self.codes[::-1].index(Path.MOVETO)
            if len(self.codes) - start < 3:
                # A lone point, to which accents are anchored: it leaves no ink.
                del self.vertices[start:], self.codes[start:]
            else:
                self._add(Path.CLOSEPOLY, self.vertices[-1])

        def _endPath(self):
            self._closePath()

    return Collector
