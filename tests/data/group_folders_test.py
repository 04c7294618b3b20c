import warnings

import keras
import numpy as np
import pytest
from PIL import Image

from keras_distill.data import group_folders


def save(path, value=0, size=(8, 6), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two people with bursts of 3, 1 and 2 photos, and one with photos of his own."""
    root = tmp_path / "set"
    sizes = {"ann/b1": 3, "ann/b2": 1, "bob/b1": 2, "cid": 2}
    for number, (name, count) in enumerate(sizes.items()):
        for row in range(count):
            save(root / name / f"{row}.png", 10 * number + row + 1)
    return root


def everything(dataset):
    batches = list(dataset.as_numpy_iterator())
    images = np.concatenate([x["image"] for x, _ in batches])
    mask = np.concatenate([x["mask"] for x, _ in batches])
    return images, mask, np.concatenate([y for _, y in batches])


def values(dataset):
    """What the pixels of the members say, group after group."""
    images, mask, _ = everything(dataset)
    shown = images[:, :, 0, 0, 0].astype(int)
    return [own[held].tolist() for own, held in zip(shown, mask, strict=True)]


def test_a_folder_that_holds_images_is_a_group(folder):
    dataset = group_folders(folder, (6, 8))
    assert dataset.group_names == ("ann/b1", "ann/b2", "bob/b1", "cid")
    assert values(dataset) == [[1, 2, 3], [11], [21, 22], [31, 32]]


def test_its_class_is_the_folder_above_it_or_the_group_itself(folder):
    dataset = group_folders(folder, 8)
    assert dataset.class_names == ("ann", "bob", "cid")
    assert everything(dataset)[2].tolist() == [0, 0, 1, 2]


def test_images_beside_groups_are_a_group_of_that_class(folder):
    save(folder / "ann" / "0.png", 99)
    dataset = group_folders(folder, 8)
    assert dataset.group_names[:2] == ("ann", "ann/b1")
    assert everything(dataset)[2].tolist() == [0, 0, 0, 1, 2]
    assert values(dataset)[0] == [99]


def test_images_in_the_folder_itself_are_one_group(tmp_path):
    for row in range(3):
        save(tmp_path / f"{row}.png", row + 1)
    dataset = group_folders(tmp_path, 8)
    assert dataset.group_names == (".",) == dataset.class_names
    assert values(dataset) == [[1, 2, 3]]


def test_below_more_levels_the_class_is_the_path_above(folder):
    save(folder / "ann" / "old" / "b1" / "0.png")
    assert group_folders(folder, 8).class_names == ("ann", "ann/old", "bob", "cid")


def test_groups_are_padded_with_blank_images_that_come_last(folder):
    images, mask, _ = everything(group_folders(folder, (6, 8), batch_size=3))
    assert images.shape == (4, 3, 6, 8, 1) and images.dtype == np.float32
    assert mask.sum(1).tolist() == [3, 1, 2, 2]
    assert (images[~mask] == 0).all()
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()


def test_each_iteration_is_the_same_and_of_known_length(folder):
    dataset = group_folders(folder, 8, batch_size=3)
    assert dataset.cardinality() == 2
    assert values(dataset) == values(dataset)
    assert values(dataset) == values(group_folders(folder, 8, batch_size=100))


def test_colours_are_kept_and_sizes_made_one(folder):
    save(folder / "cid" / "big.jpg", (200, 100, 0), (40, 20), "RGB")
    inputs, _ = group_folders(folder, (5, 7)).element_spec
    assert inputs["image"].shape.as_list() == [None, 3, 5, 7, 3]
    grey, _ = group_folders(folder, 8, channels=1).element_spec
    assert grey["image"].shape.as_list() == [None, 3, 8, 8, 1]


def test_what_does_not_fit_into_memory_is_read_again(folder):
    small = group_folders(folder, 8, memory_limit=0)
    assert values(small) == values(group_folders(folder, 8))


def test_hidden_and_other_files_are_passed_over_and_links_followed_once(folder):
    save(folder / ".thumbs" / "0.png")
    save(folder / "cid" / "._0.png")
    (folder / "cid" / "notes.txt").write_text("blurred")
    (folder / "dan").symlink_to(folder.parent / "elsewhere")
    save(folder.parent / "elsewhere" / "0.png", 77)
    (folder / "loop").symlink_to(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = group_folders(folder, 8)
    assert dataset.group_names == ("ann/b1", "ann/b2", "bob/b1", "cid", "dan")
    assert values(dataset)[3:] == [[31, 32], [77]]


# Files and folders that give no image.


def test_broken_files_are_left_out_named_and_counted(folder):
    (folder / "ann" / "b1" / "1.png").write_text("no image")
    (folder / "bob" / "b1" / "0.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="2 of 8 images.*ann/b1/1.png: Cannot") as seen:
        dataset = group_folders(folder, 8)
    assert len(seen) == 1 and seen[0].filename == __file__
    assert values(dataset) == [[1, 3], [11], [22], [31, 32]]


def test_an_empty_folder_stays_as_a_group_of_none(folder):
    (folder / "bob" / "b0").mkdir()
    with pytest.warns(UserWarning, match="1 of 5 groups.*have no.*: 'bob/b0'") as seen:
        dataset = group_folders(folder, 8, batch_size=1)
    assert len(seen) == 1 and seen[0].filename == __file__
    images, mask, labels = everything(dataset)
    assert dataset.group_names[2] == "bob/b0"
    assert labels.tolist() == [0, 0, 1, 1, 2] and not mask[2].any()
    assert (images[2] == 0).all()


def test_a_group_of_broken_files_is_a_group_of_none(folder):
    (folder / "ann" / "b2" / "0.png").write_text("no image")
    with pytest.warns(UserWarning) as seen:
        dataset = group_folders(folder, 8)
    messages = [str(warning.message) for warning in seen]
    assert "1 of 8 images" in messages[0] and "'ann/b2'" in messages[1]
    assert values(dataset) == [[1, 2, 3], [], [21, 22], [31, 32]]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(ValueError, match="must hold images, in one fol.*folder="):
        group_folders(tmp_path, 8)
    (tmp_path / "a" / "0.png").write_text("no image")
    with pytest.raises(ValueError, match="must have an image that can be read.*0.png"):
        group_folders(tmp_path, 8)


def test_a_missing_folder_and_a_file_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="such a folder.*folder=.*nothing"):
        group_folders(tmp_path / "nothing", 8)
    save(tmp_path / "0.png")
    with pytest.raises(NotADirectoryError, match="not a file.*folder=.*0.png"):
        group_folders(tmp_path / "0.png", 8)


def test_a_batch_size_of_zero_is_refused(folder):
    with pytest.raises(ValueError, match="`batch_size` must be a pos.*batch_size=0"):
        group_folders(folder, 8, batch_size=0)


def test_a_model_takes_them(folder):
    image = keras.Input((None, 6, 8, 1), name="image")
    mask = keras.Input((None,), name="mask", dtype="bool")
    shown = keras.ops.mean(image, axis=(2, 3, 4)) * keras.ops.cast(mask, "float32")
    model = keras.Model({"image": image, "mask": mask}, keras.ops.sum(shown, axis=1))
    found = model.predict(group_folders(folder, (6, 8), batch_size=3), verbose=0)
    np.testing.assert_allclose(found, [6, 11, 43, 63])
