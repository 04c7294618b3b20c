import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from keras_distill.device import read_image, read_letterboxed
from keras_distill.device.read_image import is_grey

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (6, 9), np.uint8)
COLOUR = rng.integers(0, 256, (6, 9, 3), np.uint8)


def file_of(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    stream.seek(0)
    return stream


def luma(colour):
    return np.round(colour @ np.array([0.299, 0.587, 0.114]))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_grey_and_colour_arrive_pixel_for_pixel(kind):
    grey = read_image(file_of(Image.fromarray(GREY), kind), (6, 9, 1))
    colour = read_image(file_of(Image.fromarray(COLOUR), kind), (6, 9, 3))
    assert grey.dtype == colour.dtype == np.uint8
    np.testing.assert_array_equal(grey[..., 0], GREY)
    np.testing.assert_array_equal(colour, COLOUR)


def test_grey_is_repeated_for_three_channels_and_colour_turns_to_luma_for_one():
    three = read_image(file_of(Image.fromarray(GREY)), (6, 9, 3))
    np.testing.assert_array_equal(three, np.repeat(GREY[..., None], 3, axis=2))
    one = read_image(file_of(Image.fromarray(COLOUR)), (6, 9, 1))
    np.testing.assert_allclose(one[..., 0], luma(COLOUR), atol=1)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_cut_off(kind):
    deep = np.array([[0, 257, 1000, 32768, 65278, 65535]], np.uint16)
    got = read_image(file_of(Image.fromarray(deep), kind), (1, 6, 1))
    np.testing.assert_array_equal(got[0, :, 0], np.round(deep[0] / 257.0))
    assert is_grey(file_of(Image.fromarray(deep), kind))


def test_transparency_is_put_on_white():
    colours = np.array([[[0, 0, 0, 0], [200, 100, 0, 255], [0, 0, 0, 51]]], np.uint8)
    got = read_image(file_of(Image.fromarray(colours)), (1, 3, 3))
    np.testing.assert_array_equal(got[0], [[255] * 3, [200, 100, 0], [204] * 3])
    grey = np.array([[[0, 0], [90, 255], [0, 51]]], np.uint8)
    got = read_image(file_of(Image.fromarray(grey, "LA")), (1, 3, 1))
    np.testing.assert_array_equal(got[0, :, 0], [255, 90, 204])


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_is_looked_up_and_its_transparent_colour_is_white(kind):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 250, 0, 0, 1, 2, 3])
    got = read_image(file_of(image, kind, transparency=2), (1, 3, 3))
    np.testing.assert_array_equal(got[0], [[10, 20, 30], [250, 0, 0], [255] * 3])


def test_one_bit_becomes_black_and_white():
    image = Image.fromarray(np.array([[True, False, True]]))
    assert image.mode == "1" and is_grey(file_of(image))
    got = read_image(file_of(image), (1, 3, 1))
    np.testing.assert_array_equal(got[0, :, 0], [255, 0, 255])


def test_a_jpeg_of_four_inks_becomes_rgb():
    inks = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    got = read_image(file_of(inks, "JPEG", quality=100), (8, 8, 3))
    np.testing.assert_allclose(got, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=8)


# By the EXIF standard: what turns the stored pixels upright.
TURNS = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_turned_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = TURNS[orientation](GREY)
    file = file_of(Image.fromarray(GREY), exif=exif)
    got = read_image(file, (*upright.shape, 1))
    np.testing.assert_array_equal(got[..., 0], upright)


def test_the_first_frame_of_an_animation_is_read():
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    file = file_of(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(file, (6, 9, 1))[..., 0], GREY)


def test_an_image_is_stretched_to_the_exact_size_without_aliasing():
    # Stripes of one pixel: taking every eighth pixel would show black or white.
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 256))
    got = read_image(file_of(Image.fromarray(stripes)), (8, 40, 1))
    assert got.shape == (8, 40, 1)
    np.testing.assert_allclose(got, 127.5, atol=8)


def test_stretching_is_bilinear_when_it_enlarges():
    file = file_of(Image.fromarray(np.array([[0, 200]], np.uint8)))
    # Pixel centres of the result lie at -1/4, 1/4, 3/4, 5/4 of the two pixels.
    np.testing.assert_array_equal(
        read_image(file, (1, 4, 1))[0, :, 0], [0, 50, 150, 200]
    )


@pytest.mark.parametrize("size", [(100, 100), (100, 37), (12, 80)])
def test_large_jpegs_look_as_if_reduced_after_decoding(size):
    # Detail that would be lost if more were reduced than the longer side allows.
    blocks = rng.integers(0, 256, (200, 267), np.uint8)
    large = np.kron(blocks, np.ones((3, 3), np.uint8))
    file = file_of(Image.fromarray(large), "JPEG", quality=95)
    decoded = Image.open(file).convert("L")
    expected = decoded.resize(size[::-1], Image.Resampling.BILINEAR)
    got = read_image(file, (*size, 1))[..., 0].astype(float)
    assert np.abs(got - np.asarray(expected)).mean() < 3


def test_a_path_reads_as_the_file_does(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    for file in (path, str(path), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(read_image(file, (6, 9, 1))[..., 0], GREY)


def test_a_missing_file_is_missing():
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        read_image("nowhere.png", (6, 9, 1))
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        is_grey("nowhere.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path, kind):
    large = rng.integers(0, 256, (64, 64, 3), np.uint8)
    whole = file_of(Image.fromarray(large), kind).getvalue()
    path = tmp_path / "cut"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="Cannot read the image.*file=.*cut"):
        read_image(path, (6, 9, 3))


@pytest.mark.parametrize("read", [is_grey, lambda f: read_image(f, (6, 9, 1))])
def test_what_is_no_image_is_an_error_that_names_it(tmp_path, read):
    path = tmp_path / "notes.png"
    path.write_text("these are words")
    with pytest.raises(ValueError, match=r"Unidentified.*file=.*notes\.png"):
        read(path)


def test_floats_and_values_beyond_16_bit_are_refused(tmp_path):
    floats = file_of(Image.fromarray(GREY.astype(np.float32)), "TIFF")
    with pytest.raises(ValueError, match="no known range"):
        read_image(floats, (6, 9, 1))
    huge = file_of(Image.fromarray(np.full((2, 2), 70000, np.int32)), "TIFF")
    with pytest.raises(ValueError, match="outside 16 bit"):
        read_image(huge, (2, 2, 1))


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 2), (0, 9, 1), (6.0, 9, 1)])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(ValueError, match=r"`image_shape` must be.*image_shape=\("):
        read_image(file_of(Image.fromarray(GREY)), shape)


def test_grey_is_told_from_colour_by_the_header():
    def mode(name):
        return file_of(Image.new(name, (2, 2)))

    assert is_grey(mode("L")) and is_grey(mode("LA"))
    assert not is_grey(mode("RGB")) and not is_grey(mode("RGBA"))
    palette = Image.new("P", (2, 2))
    palette.putpalette([0, 0, 0, 90, 90, 90])
    assert is_grey(file_of(palette))
    palette.putpalette([0, 0, 0, 90, 90, 91])
    assert not is_grey(file_of(palette))


def test_importing_the_reader_loads_neither_pillow_nor_tensorflow():
    code = (
        "import sys, keras_distill.device.read_image;"
        "print({'PIL', 'tensorflow', 'keras'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "set()"


def test_real_portraits_are_read_as_they_are(real_data):
    path = real_data("orl_faces") / "s1" / "1.pgm"
    raw = path.read_bytes()
    pixels = np.frombuffer(raw[-92 * 112 :], np.uint8).reshape(112, 92)
    np.testing.assert_array_equal(read_image(path, (112, 92, 1))[..., 0], pixels)


def test_a_letterboxed_image_keeps_its_shape_and_is_padded_with_grey():
    image = Image.new("RGB", (40, 30), (9, 8, 7))
    pixels, scale, size = read_letterboxed(file_of(image), (64, 60, 3))
    assert size == (40, 30) and scale.tolist() == [1.5, 1.5]
    assert (pixels[:45] == [9, 8, 7]).all() and (pixels[45:] == 127).all()
    pixels, scale, _ = read_letterboxed(file_of(image), (15, 60, 1))
    assert scale.tolist() == [0.5, 0.5]
    assert (pixels[:, :20] == 8).all() and (pixels[:, 20:] == 127).all()


def test_scales_of_a_letterboxed_image_are_those_of_whole_pixels():
    image = Image.new("L", (7, 100))
    _, scale, _ = read_letterboxed(file_of(image), (33, 33, 1))
    assert scale.tolist() == [2 / 7, 0.33]


def test_the_size_of_an_image_is_that_of_the_upright_one():
    sideways = Image.new("RGB", (40, 30), (200, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = file_of(sideways, "JPEG", exif=exif)
    pixels, scale, size = read_letterboxed(file, (80, 80, 3))
    assert size == (30, 40) and scale.tolist() == [2, 2]
    assert (pixels[:, 60:] == 127).all() and pixels[40, 30, 0] > 190
    large = file_of(sideways.resize((1600, 1200)), "JPEG", exif=exif)
    assert read_letterboxed(large, (40, 40, 3))[2] == (1200, 1600)  # though reduced


def test_what_is_no_image_cannot_be_letterboxed(tmp_path):
    with pytest.raises(ValueError, match="Cannot read the image.*Received: file="):
        read_letterboxed(io.BytesIO(b"no"), (8, 8, 3))
    with pytest.raises(ValueError, match="`image_shape` must be"):
        read_letterboxed(io.BytesIO(b"no"), (8, 8))
    with pytest.raises(FileNotFoundError):
        read_letterboxed(tmp_path / "nowhere.png", (8, 8, 3))
