import matplotlib
import numpy as np
import pytest

from keras_distill.data.fonts import font_files, font_outlines
from keras_distill.data.glyph_drawing import draw_outlines

FONTS = {path.stem: path for path in font_files()}


def drawn(font, characters):
    outlines = font_outlines(FONTS[font])
    return draw_outlines([outlines[ord(c)] for c in characters], 48, 48)


def alike(one, other):
    """Cosine between the ink of two drawings."""
    a, b = one.astype(float).ravel(), other.astype(float).ravel()
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_the_three_families_are_there_and_no_stand_in_font():
    assert {"DejaVuSans", "STIXGeneral", "cmr10"} < set(FONTS)
    assert not any("LastResort" in name for name in FONTS)


@pytest.mark.parametrize("characters", ["ABCXYZ", "abcxyz", "ΓΘΛΞΠΣΨ", "&!?[]("])
def test_computer_modern_says_what_it_draws(characters):
    # Its map numbers TeX's slots; compared with a font whose map is Unicode, each
    # character must be most like the one of its own name.
    tex, unicode = drawn("cmr10", characters), drawn("STIXGeneral", characters)
    scores = np.array([[alike(a, b) for b in unicode] for a in tex])
    assert (scores.argmax(axis=1) == np.arange(len(characters))).all()


def test_slots_that_are_no_characters_are_left_out():
    roman = font_outlines(FONTS["cmr10"])
    assert {ord(c) for c in "<>\\_{|}"}.isdisjoint(roman)
    assert not font_outlines(FONTS["cmex10"])
    symbols = font_outlines(FONTS["cmsy10"])
    assert ord("∞") in symbols and ord("A") not in symbols
    # Old style digits have no code points of their own.
    assert ord("1") not in font_outlines(FONTS["cmmi10"])


def test_private_characters_of_stix_are_left_out():
    assert not font_outlines(FONTS["STIXNonUni"])
    assert not any(
        0xE000 <= code < 0xF900 for code in font_outlines(FONTS["DejaVuSans"])
    )


def test_spaces_and_empty_glyphs_are_left_out():
    codes = font_outlines(FONTS["DejaVuSans"])
    assert {0x20, 0xA0, 0x2003, 0x200B, 0xFEFF}.isdisjoint(codes)


def test_missing_fonts_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(matplotlib, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(FileNotFoundError, match="none of DejaVu, STIX, cm in folder="):
        font_files()


def test_points_that_only_anchor_accents_are_left_out():
    # They would count as ink when a glyph is centred.
    for outline in font_outlines(FONTS["DejaVuSans-Bold"]).values():
        starts = np.flatnonzero(outline.codes == outline.MOVETO)
        assert np.diff([*starts, len(outline.codes)]).min() > 3
