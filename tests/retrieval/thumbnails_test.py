import numpy as np
import pytest
from PIL import Image

from keras_distill.data.image_set import ImageSet
from keras_distill.retrieval.thumbnails import thumbnails, write_thumbnails

rng = np.random.default_rng(0)


def written(folder, shape, count):
    pixels = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return pixels, write(folder, pixels)


def write(folder, pixels):
    images = ImageSet(pixels, np.zeros(len(pixels)))
    return write_thumbnails(folder, thumbnails(images), images.image_shape)


def shown(folder, facts, index):
    """The thumbnail of an item, found by what the manifest says alone."""
    per_sheet = facts["columns"] * facts["rows"]
    row, column = divmod(index % per_sheet, facts["columns"])
    height, width = facts["height"], facts["width"]
    with Image.open(folder / facts["sheets"][index // per_sheet]) as sheet:
        left, top = column * width, row * height
        return np.asarray(sheet.crop((left, top, left + width, top + height)))


@pytest.mark.parametrize("channels, suffix", [(1, "png"), (3, "webp")])
def test_small_images_are_kept_pixel_by_pixel(tmp_path, channels, suffix):
    pixels, facts = written(tmp_path, (6, 9, channels), 1030)
    assert (facts["height"], facts["width"]) == (6, 9)
    assert facts["sheets"] == [f"thumbnails/000{n}.{suffix}" for n in (0, 1)]
    for index in (0, 31, 32, 257, 1023, 1024, 1029):
        got = shown(tmp_path, facts, index).reshape(6, 9, channels)
        np.testing.assert_array_equal(got, pixels[index])


def test_places_without_an_item_are_white(tmp_path):
    _, facts = written(tmp_path, (4, 4, 1), 3)
    assert (shown(tmp_path, facts, 3) == 255).all()


def test_large_images_are_reduced_in_proportion(tmp_path):
    smooth = np.linspace(0, 255, 256, dtype=np.uint8)
    pixels = np.broadcast_to(smooth[None, None, :, None], (2, 128, 256, 1)).copy()
    facts = write(tmp_path, pixels)
    assert (facts["height"], facts["width"]) == (32, 64)
    got = shown(tmp_path, facts, 1).astype(int)
    # Each pixel of 64 is about the mean of four of 256.
    np.testing.assert_allclose(got[16], smooth.reshape(64, 4).mean(1), atol=2)
