import numpy as np
import pytest

from keras_distill.device import fit_ink

SHAPE = (32, 32, 1)


def paper(height, width, level=255):
    return np.full((height, width), level, np.uint8)


def inked(image):
    """First and last row and column that hold ink."""
    rows, columns = np.nonzero(image[..., 0] < 128)
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize(
    "box, expected",
    [
        # A square fills 28 of 32 pixels; bars keep their proportions, centred.
        ((10, 20, 30, 40), (2, 29, 2, 29)),
        ((0, 14, 0, 7), (2, 29, 9, 22)),
        ((50, 57, 5, 19), (9, 22, 2, 29)),
    ],
)
def test_ink_fills_the_image_but_for_its_margin(box, expected):
    drawing = paper(60, 80)
    top, bottom, left, right = box
    drawing[top:bottom, left:right] = 0
    assert inked(fit_ink(drawing, SHAPE)) == expected


def test_size_and_place_do_not_count():
    letter = np.random.default_rng(0).integers(0, 2, (7, 7)).astype(np.uint8)
    letter[[0, -1]], letter[:, [0, -1]] = 0, 0  # ink reaches every side
    small, large = paper(30, 30), paper(80, 60)
    small[3:10, 20:27] = 255 * letter
    large[40:68, 5:33] = 255 * np.kron(letter, np.ones((4, 4), np.uint8))
    one, other = (fit_ink(drawing, SHAPE).astype(int) for drawing in (small, large))
    # Seven pixels enlarged four times are softer at their edges than 28.
    assert np.abs(one - other).mean() < 25
    assert inked(one) == inked(other) == (2, 29, 2, 29)


def test_grey_paper_and_pale_ink_become_white_and_black():
    drawing = paper(40, 40, 180)
    drawing[10:30, 10:30] = 120
    drawing[10:20, 20:30] = 150
    image = fit_ink(drawing, (16, 16, 3))
    assert image.shape == (16, 16, 3)
    assert [image[12, 4, 0], image[4, 12, 0], image[0, 0, 0]] == [0, 128, 255]
    assert (image == image[..., :1]).all()


def test_a_dot_and_a_line_of_a_pixel_are_drawings():
    for box in ((5, 6, 5, 6), (5, 6, 0, 40), (0, 40, 5, 6)):
        drawing = paper(40, 40)
        drawing[box[0] : box[1], box[2] : box[3]] = 0
        assert fit_ink(drawing, SHAPE).min() == 0


@pytest.mark.parametrize(
    "drawing, error, message",
    [
        (np.zeros((3, 3), np.float32), TypeError, "uint8.*drawing.dtype=float32"),
        (np.zeros((3, 3, 1), np.uint8), ValueError, r"grey.*shape=\(3, 3, 1\)"),
        (np.zeros((0, 3), np.uint8), ValueError, r"grey.*shape=\(0, 3\)"),
        (np.full((3, 3), 200, np.uint8), ValueError, "must be ink.*200 to 200"),
    ],
)
def test_refuses_and_says_what_it_got(drawing, error, message):
    with pytest.raises(error, match=message):
        fit_ink(drawing, SHAPE)
