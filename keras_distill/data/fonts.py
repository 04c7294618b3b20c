"""Matplotlib's fonts, and which characters each of them really holds."""

import pathlib
import unicodedata

_FAMILIES = ("DejaVu", "STIX", "cm")
_TEX = "cm"  # fonts whose character map is not Unicode
_CALLIGRAPHIC = "cmsy10"  # its A to Z are script letters


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


def font_characters(path):
    """Which code points a font draws, and by which slot of its character map.

    Code points that are private, unassigned, surrogates, controls, formats or
    spaces are left out, and so is what the map sends to `.notdef`. For DejaVu and
    STIX slot and code point are the same. The map of a Computer Modern font calls
    itself Unicode but numbers TeX's slots (`<` draws an inverted exclamation mark):
    there the glyph's name says the code point, by Adobe's glyph list, and glyphs
    whose name is not in the list are left out. cmsy10's `A` to `Z` are left out too:
    named like letters, they are script capitals.

    Args:
        path: Path of a TrueType font.

    Returns:
        Dict from code point to slot, in the order of code points.
    """
    from fontTools import agl
    from fontTools.ttLib import TTFont

    with TTFont(path, lazy=True) as font:
        slots = font.getBestCmap() or {}
    characters = {}
    for slot, glyph in slots.items():
        code = slot
        if path.name.startswith(_TEX):
            text = agl.toUnicode(glyph)
            if len(text) != 1 or (path.stem == _CALLIGRAPHIC and len(glyph) == 1):
                continue
            code = ord(text)
        if glyph != ".notdef" and unicodedata.category(chr(code))[0] not in "CZ":
            characters.setdefault(code, slot)
    return dict(sorted(characters.items()))
