"""What a box holds of a picture, read as a picture of its own."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_distill.device import read_crops, read_image

rng = np.random.default_rng(0)
PIXELS = rng.integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture
def file(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_box_of_whole_pixels_is_these_pixels(file):
    crops = read_crops(file, [[10, 5, 42, 37], [0, 0, 32, 32]], (32, 32, 3))
    assert crops.dtype == np.uint8 and crops.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(crops[0], PIXELS[5:37, 10:42])
    np.testing.assert_array_equal(crops[1], PIXELS[:32, :32])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_read_as_a_file_of_it_would_be(file, tmp_path, channels):
    Image.fromarray(PIXELS[3:39, 20:41]).save(tmp_path / "crop.png")
    shape = (24, 16, channels)
    (crop,) = read_crops(file, [[20, 3, 41, 39]], shape)
    np.testing.assert_array_equal(crop, read_image(tmp_path / "crop.png", shape))


def test_what_a_box_touches_belongs_to_it(file):
    shape = (4, 3, 3)
    (crop,) = read_crops(file, [[10.9, 5.1, 12.2, 8.6]], shape)
    np.testing.assert_array_equal(crop, PIXELS[5:9, 10:13])
    # What is left over of rounding touches nothing.
    (same,) = read_crops(file, [[10 - 1e-9, 5, 13 + 1e-9, 9]], shape)
    np.testing.assert_array_equal(same, crop)


def test_a_margin_is_taken_along_as_far_as_the_picture_goes(file):
    (crop,) = read_crops(file, [[20, 10, 40, 20]], (14, 28, 3), margin=0.2)
    np.testing.assert_array_equal(crop, PIXELS[8:22, 16:44])
    (corner,) = read_crops(file, [[0, 0, 10, 10]], (15, 15, 3), margin=0.5)
    np.testing.assert_array_equal(corner, PIXELS[:15, :15])


@pytest.mark.parametrize(
    "box, pixel",
    [
        ([5, 7, 5, 7], (7, 5)),  # no area
        ([-9, -9, -5, -5], (0, 0)),
        ([99, 99, 120, 120], (39, 59)),
        ([30, 20, 10, 2], (20, 30)),  # the wrong way round
    ],
)
def test_at_least_one_pixel_belongs_to_a_box(file, box, pixel):
    (crop,) = read_crops(file, [box], (1, 1, 3))
    np.testing.assert_array_equal(crop[0, 0], PIXELS[pixel])


def test_boxes_are_of_the_picture_as_it_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    upright = np.rot90(PIXELS, -1)  # (60, 40, 3)
    (crop,) = read_crops(tmp_path / "turned.png", [[3, 30, 35, 58]], (28, 32, 3))
    np.testing.assert_array_equal(crop, upright[30:58, 3:35])


def test_a_large_jpeg_is_cut_at_its_full_size():
    large = Image.fromarray(np.kron(PIXELS, np.ones((16, 16, 1), np.uint8)))
    stream = io.BytesIO()
    large.save(stream, "JPEG", quality=95)
    (crop,) = read_crops(stream, [[320, 160, 336, 176]], (16, 16, 3))
    expected = np.asarray(Image.open(stream))[160:176, 320:336]
    np.testing.assert_array_equal(crop, expected)


def test_no_boxes_are_no_crops(file):
    assert read_crops(file, np.zeros((0, 4)), (8, 9, 1)).shape == (0, 8, 9, 1)


def test_refuses_and_says_what_it_got(file, tmp_path):
    for boxes in ([[1, 2, 3]], [1, 2, 3, 4], [[0, 0, 1, np.nan]]):
        with pytest.raises(ValueError, match=r"shape \(n, 4\).*Received: boxes="):
            read_crops(file, boxes, (8, 8, 3))
    for margin in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"from 0 on. Received: margin={margin}"):
            read_crops(file, [[0, 0, 1, 1]], (8, 8, 3), margin)
    with pytest.raises(ValueError, match="image_shape=.8, 8, 2."):
        read_crops(file, [[0, 0, 1, 1]], (8, 8, 2))
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match="Cannot read the image.*empty.png"):
        read_crops(tmp_path / "empty.png", [[0, 0, 1, 1]], (8, 8, 3))
    with pytest.raises(FileNotFoundError):
        read_crops(tmp_path / "none.png", [[0, 0, 1, 1]], (8, 8, 3))
