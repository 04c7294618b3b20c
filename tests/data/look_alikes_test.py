import numpy as np
import pytest
from matplotlib.path import Path

from keras_distill.data.fonts import font_files, font_outlines
from keras_distill.data.glyph_drawing import draw_outlines
from keras_distill.data.look_alikes import OUTLINE, TOLERANCE, distinct, look_alikes

FONTS = {path.stem: path for path in font_files()}


def groups(characters, *fonts):
    """Which of the characters are joined, by their drawings in some fonts."""
    outlines, codes, names = [], [], []
    for font in fonts:
        held = font_outlines(FONTS[font])
        for character in characters:
            if ord(character) in held:
                outlines.append(held[ord(character)])
                codes.append(ord(character))
                names.append(font)
    drawn = draw_outlines(outlines, OUTLINE, OUTLINE, 0)
    lowest = look_alikes(drawn, np.array(codes), names)
    joined = {}
    for code, low in zip(codes, lowest, strict=True):
        joined.setdefault(low, set()).add(chr(code))
    return {"".join(sorted(group)) for group in joined.values()}


def test_latin_greek_and_cyrillic_a_are_one_by_their_outline():
    assert groups("AΑАBБ", "DejaVuSans") == {"AΑА", "B", "Б"}
    assert groups("AΑАBБ", "DejaVuSerif-Bold") == {"AΑА", "B", "Б"}


def test_letters_that_a_reader_tells_apart_stay_apart():
    characters = "ABCDEGHKMQRSWXZabdeghkqrtzÀÁÂÃÄéèêëñń23456789&@%"
    fonts = ("DejaVuSans", "DejaVuSerif", "STIXGeneral")
    assert groups(characters, *fonts) == set(characters)


def test_joining_is_transitive_over_fonts():
    # m and Cyrillic te look alike in italics only, te and small capital T upright.
    upright = groups("mтᴛ", "DejaVuSans")
    assert upright == {"m", "тᴛ"}
    assert groups("mтᴛ", "DejaVuSans", "DejaVuSerif-Italic") == {"mтᴛ"}


def test_size_and_place_do_not_count():
    # A low line, a macron and a dash differ by where they are, not by what they are.
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float)
    small, large = Path(square, closed=True), Path(700 * square - 90, closed=True)
    one, other = draw_outlines([small, large], 32, 32)
    np.testing.assert_array_equal(one, other)


def test_drawings_are_the_area_of_the_ink():
    triangle = Path(np.array([[0, 0], [2, 0], [0, 2], [0, 0]], float), closed=True)
    (drawn,) = draw_outlines([triangle], 40, 40, margin=0.1)
    assert np.sum(drawn / 255) == pytest.approx(32**2 / 2, abs=4)
    assert drawn[35, 4] == 255 and drawn[4, 35] == 0  # y is upwards in outlines


@pytest.mark.parametrize("part", [0.07, 0.1, 0.13, 0.21])
def test_edges_are_not_moved_to_whole_pixels(part):
    corners = np.array([[0, 0], [part, 0], [part, 1], [0, 1], [0, 0]], float)
    (drawn,) = draw_outlines([Path(corners, closed=True)], 40, 40, margin=0)
    assert np.sum(drawn / 255) == pytest.approx(part * 40**2, rel=0.01)


def test_curves_are_measured_by_their_ink_and_not_by_their_control_points():
    # Half a disc-like bump: the control point is twice as high as the curve.
    codes = [Path.MOVETO, Path.CURVE3, Path.CURVE3, Path.CLOSEPOLY]
    bump = Path(np.array([[0, 0], [1, 4], [2, 0], [0, 0]], float), codes)
    (drawn,) = draw_outlines([bump], 32, 32, margin=0)
    assert drawn.any(axis=1).all() and drawn.any(axis=0).all()


def slow_distance(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.sum((a - b) ** 2) / min(np.sum(a**2), np.sum(b**2))


def test_the_fast_search_finds_exactly_the_close_pairs():
    rng = np.random.default_rng(0)
    # Differences are the same over 4 x 4 pixels: averaging hides none of them.
    blocks = np.ones((1, 1, 4, 4), np.int64)
    base = np.kron(rng.integers(0, 256, (12, 1, 16, 16)), blocks)
    steps = np.cumsum([0, 0.03, 0.06, 0.09, 0.05, 0.07, 0.01, 0.02])[
        None, :, None, None
    ]
    other = np.kron(rng.integers(0, 256, (12, 1, 16, 16)), blocks)
    family = (base * (1 - steps) + other * steps).round().astype(np.uint8)
    outlines = family.reshape(-1, 64, 64)
    codes = np.arange(len(outlines))
    joined = look_alikes(outlines, codes, ["one font"] * len(codes))
    expected = codes.copy()
    for a in codes:
        for b in range(a + 1, len(codes)):
            if slow_distance(outlines[a], outlines[b]) <= TOLERANCE:
                expected[expected == expected[b]] = min(expected[a], expected[b])
                expected[expected == expected[a]] = min(expected[a], expected[b])
    np.testing.assert_array_equal(joined, expected)
    assert 12 < len(set(joined)) < len(codes)  # neither all nor none are joined


def test_equal_drawings_in_different_fonts_are_joined_close_ones_are_not():
    rng = np.random.default_rng(0)
    one = rng.integers(1, 255, (64, 64)).astype(np.uint8)
    outlines = np.stack([one, one + 1, one])
    joined = look_alikes(outlines, np.array([7, 8, 9]), ["a", "b", "c"])
    assert joined.tolist() == [7, 8, 7]


def test_repeated_drawings_of_a_group_are_dropped():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 255, (2, 64, 64)).astype(np.uint8)
    outlines = np.stack([a, b, a, a + 1, b])
    kept = distinct(outlines, np.array([3, 0, 1, 4, 2]), np.array([0, 0, 1, 0, 0]))
    # Of group 0, in order: 3, 0 (close to 3), 1, 4 (equals 1); of group 1: 2.
    assert kept.tolist() == [3, 1, 2]


def test_a_drawing_is_compared_with_those_kept_and_not_with_those_dropped():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 200, (64, 64))
    chain = np.stack([start, start + 4, start + 8]).astype(np.uint8)
    assert slow_distance(*chain[:2]) < TOLERANCE < slow_distance(*chain[::2])
    assert distinct(chain, np.arange(3), np.zeros(3, int)).tolist() == [0, 2]
