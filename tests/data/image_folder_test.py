import os
import warnings

import numpy as np
import pytest
from PIL import Image

from keras_distill.data import class_balanced, image_folder, load

rng = np.random.default_rng(0)


def save(path, size=(8, 8), mode="L", value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(mode, size, value) if value is not None else noise(size, mode)
    image.save(path)


def noise(size, mode):
    pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def folder(tmp_path):
    """Five classes of three images."""
    for number, name in enumerate(["b/x", "b/y", "a/x", "c", "d e"]):
        for row in range(3):
            save(tmp_path / "set" / name / f"{row}.png", value=10 * number + row)
    return tmp_path / "set"


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_class_is_the_folder_that_holds_the_image(folder):
    images = image_folder(folder, 8)
    assert images.class_names == ("a/x", "b/x", "b/y", "c", "d e")
    assert images.ids[:4] == ("a/x/0.png", "a/x/1.png", "a/x/2.png", "b/x/0.png")
    assert images.labels.tolist() == np.repeat(np.arange(5), 3).tolist()
    values = images.arrays()[0][:, 0, 0, 0].tolist()
    assert values == [20, 21, 22, 0, 1, 2, 10, 11, 12, 30, 31, 32, 40, 41, 42]
    assert images.name == str(folder) and images.skipped == ()


def test_the_order_does_not_depend_on_the_file_system(folder, monkeypatch):
    before = image_folder(folder, 8).ids
    walk = os.walk

    def shuffled(*arguments, **options):
        for place, inner, names in walk(*arguments, **options):
            inner.reverse()
            yield place, inner, names[::-1]

    monkeypatch.setattr(os, "walk", shuffled)
    assert image_folder(folder, 8).ids == before


def test_images_are_brought_to_one_size(folder):
    save(folder / "c" / "wide.jpg", size=(40, 20), value=77)
    images = image_folder(folder, (6, 10))
    assert images.image_shape == (6, 10, 1)
    row = images.ids.index("c/wide.jpg")
    np.testing.assert_array_equal(images.arrays()[0][row], 77)


@pytest.mark.parametrize(
    "suffix", "png jpg jpeg bmp gif webp tif tiff pgm ppm PNG".split()
)
def test_every_usual_kind_of_file_is_an_image(tmp_path, suffix):
    save(tmp_path / "a" / f"x.{suffix}", value=120)
    images = image_folder(tmp_path, 8)
    assert images.ids == (f"a/x.{suffix}",)
    np.testing.assert_allclose(images.arrays()[0], 120, atol=2)


def test_other_files_and_hidden_ones_are_passed_over(folder):
    (folder / "README.md").write_text("about")
    (folder / "c" / "labels.csv").write_text("1,2")
    save(folder / ".cache" / "x.png")
    save(folder / "c" / "._x.png")
    assert len(image_folder(folder, 8)) == 15


def test_images_beside_the_folders_are_a_class_of_their_own(folder):
    save(folder / "stray.png")
    assert image_folder(folder, 8).class_names[0] == "."


def test_links_are_followed_once(folder, tmp_path):
    save(tmp_path / "elsewhere" / "0.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    images = image_folder(folder, 8)
    assert len(images) == 16 and "linked" in images.class_names


def test_channels_are_one_where_all_is_grey_and_three_otherwise(folder):
    assert image_folder(folder, 8).image_shape == (8, 8, 1)
    assert image_folder(folder, 8, channels=3).image_shape == (8, 8, 3)
    save(folder / "c" / "colour.png", mode="RGB")
    assert image_folder(folder, 8).image_shape == (8, 8, 3)
    assert image_folder(folder, 8, channels=1).image_shape == (8, 8, 1)


def test_broken_files_are_left_out_named_and_counted(folder):
    for row in range(3):
        save(folder / "c" / f"big{row}.png", size=(64, 64))
    cut(folder / "c" / "big0.png")
    (folder / "b" / "x" / "1.png").write_text("no image")
    (folder / "d e" / "2.png").write_bytes(b"")
    with pytest.warns(UserWarning) as caught:
        images = image_folder(folder, 8)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "3 of 18 images" in message
    assert "c/big0.png: Cannot read the image" in message
    broken = ["b/x/1.png", "c/big0.png", "d e/2.png"]
    assert [path for path, _ in images.skipped] == broken
    assert all(reason.startswith("Cannot read") for _, reason in images.skipped)
    assert len(images) == 15 and not set(images.ids) & set(broken)


def test_labels_fit_the_images_that_are_left(folder):
    (folder / "a" / "x" / "0.png").write_text("no image")
    with pytest.warns(UserWarning, match="1 of 15 images"):
        images = image_folder(folder, 8)
    values = images.arrays()[0][:, 0, 0, 0] // 10
    assert values.tolist() == [2, 2, 0, 0, 0, 1, 1, 1, 3, 3, 3, 4, 4, 4]
    assert images.labels.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]


def test_a_class_of_broken_files_is_an_error(folder):
    for row in range(3):
        (folder / "c" / f"{row}.png").write_text("no image")
    with pytest.raises(ValueError, match=r"1 of .* have none.*\['c'\].*c/0\.png"):
        image_folder(folder, 8)


def test_the_limit_of_memory_only_decides_where_pixels_are(folder):
    (folder / "a" / "x" / "0.png").write_text("no image")
    with pytest.warns(UserWarning, match="left out"):
        held = image_folder(folder, 8)
    with pytest.warns(UserWarning, match="left out"):
        lazy = image_folder(folder, 8, memory_limit=15 * 8 * 8 - 1)
    assert held.in_memory and not lazy.in_memory
    assert held.fingerprint() == lazy.fingerprint()
    assert held.ids == lazy.ids and held.labels.tolist() == lazy.labels.tolist()
    np.testing.assert_array_equal(held.arrays()[0], lazy.arrays()[0])
    ours = [
        list(class_balanced(images, 3, 2, seed=1).as_numpy_iterator())
        for images in (held, lazy)
    ]
    for one, other in zip(*ours, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"must hold images.*\.png.*folder="):
        image_folder(tmp_path, 8)
    with pytest.raises(FileNotFoundError, match="such a folder.*folder=.*nowhere"):
        image_folder(tmp_path / "nowhere", 8)
    with pytest.raises(NotADirectoryError, match=r"not a file.*notes\.txt"):
        image_folder(tmp_path / "notes.txt", 8)


def test_loading_a_folder_splits_its_classes(folder):
    train, evaluation = load(folder, 8, eval_classes=["b/*"])
    assert evaluation.class_names == ("b/x", "b/y")
    assert train.class_names == ("a/x", "c", "d e")
    train, evaluation = load(str(folder), (8, 4), channels=3)
    assert len(evaluation.class_names) == 2 and train.image_shape == (8, 4, 3)


def test_loading_classes_of_one_image_is_an_error(tmp_path):
    for number in range(6):
        save(tmp_path / str(number) / "only.png")
    with pytest.raises(ValueError, match="must have two images"):
        load(tmp_path, 8)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (("nowhere/at/all", 8), FileNotFoundError, "existing folder or.*glyphs, tfds:"),
        (("glyphs", 0), ValueError, "`image_size` must be.*image_size=0"),
        (("glyphs", (8, 8, 1)), ValueError, r"`image_size`.*image_size=\(8, 8, 1\)"),
        (("glyphs", 8.5), ValueError, r"`image_size`.*image_size=8\.5"),
        (("glyphs", 32, None, 4), ValueError, "`channels` must be.*channels=4"),
        (("glyphs", 200), ValueError, r"from 8 to 128.*image_size=\(200, 200\)"),
        (("tfds:mnist", 8), ValueError, "one of tfds:omniglot.*name='tfds:mnist'"),
    ],
)
def test_loading_what_is_not_known_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        load(*arguments)


def test_omniglot_is_whole(real_data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, evaluation = load(
            real_data("omniglot") / "images", 32, ["Greek/*", "Tagalog/*"]
        )
    assert (len(train), len(train.class_names)) == (2380, 119)
    assert (len(evaluation), len(evaluation.class_names)) == (820, 41)
    assert evaluation.ids[0].startswith("Greek/character01/")
    assert train.image_shape == (32, 32, 1)
    # Black ink on white: most of a page is white.
    assert np.median(train.arrays()[0]) == 255


def test_faces_are_whole(real_data):
    images = image_folder(real_data("orl_faces"), (56, 46))
    assert len(images) == 400 and len(images.class_names) == 40
    assert np.bincount(images.labels).tolist() == [10] * 40
    assert images.image_shape == (56, 46, 1)
