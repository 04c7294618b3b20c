"""What is there already is left as it is: other contents, other folders, damage."""

import shutil

import keras
import numpy as np
import pytest

from keras_distill import layers as our_layers
from keras_distill.data import FixedViews, ImageSet, TeacherCache, cache_embeddings
from tests.data.counting_teacher import (
    AFFINE,
    IMAGES,
    OTHER_PIXELS,
    PIXELS,
    VIEWS,
    content,
    make_teacher,
)

# What has changed is refused, and nothing is overwritten.


def trained(teacher):
    weight = teacher.weights[0]
    weight.assign(weight * 1.001)
    return teacher


CHANGES = {
    "weights": ({"teacher": lambda: trained(make_teacher())}, "teacher's weights"),
    "architecture": (
        {"teacher": lambda: make_teacher(activation="gelu")},
        "teacher's architecture",
    ),
    "pixels": (
        {"images": ImageSet(OTHER_PIXELS, IMAGES.labels)},
        "pixels of 2 images",
    ),
    "a part": ({"images": IMAGES.subset(range(29))}, "ids of the images"),
    "order": ({"images": IMAGES.subset(range(29, -1, -1))}, "ids of the images"),
    "size": (
        {"images": ImageSet(PIXELS[:, :11], IMAGES.labels)},
        "size of the images",
    ),
    "augmentation": (
        {"views": FixedViews(our_layers.RandomAffine(0.2, 31), 2, 3)},
        "augmentation of the views",
    ),
    "count": ({"views": FixedViews(AFFINE, 3, 3)}, "number of views"),
    "seed": ({"views": FixedViews(AFFINE, 2, np.int64(4))}, "seed of the views"),
    "no views": ({"views": None}, "augmentation.*; the number of views; the seed"),
    "dataset": (
        {"images": IMAGES.batches(8), "views": None},
        "an ImageSet or as a tf.data.Dataset",
    ),
}


@pytest.mark.parametrize("change, message", CHANGES.values(), ids=CHANGES)
def test_a_cache_of_something_else_is_refused(finished_cache, change, message):
    teacher, folder = finished_cache
    before = content(folder)
    given = {"teacher": lambda: teacher, "images": IMAGES, "views": VIEWS, **change}
    with pytest.raises(ValueError, match=f"left as it is.*{message}.*Received: folder"):
        cache_embeddings(given["teacher"](), given["images"], folder, given["views"])
    assert content(folder) == before


def test_the_same_teacher_and_views_written_anew_are_not_refused(finished_cache):
    _, folder = finished_cache
    again = FixedViews([our_layers.RandomAffine(0.2, 30, seed=5)], 2, np.int64(3))
    relabelled = ImageSet(PIXELS, np.arange(30) % 2)
    cache_embeddings(make_teacher(), relabelled, folder, again)


def test_an_unfinished_cache_of_something_else_is_refused(
    finished_cache, interrupted_cache, tmp_path
):
    teacher, _ = finished_cache
    interrupted_cache(2, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
    before = content(tmp_path / "cache")
    with pytest.raises(ValueError, match="Changed: the teacher's weights. Received"):
        cache_embeddings(make_teacher(seed=1), IMAGES, tmp_path / "cache", VIEWS)
    assert content(tmp_path / "cache") == before


@pytest.mark.parametrize("blocks", [2, None], ids=["unfinished", "finished"])
def test_code_that_prepares_images_in_another_way_is_refused(
    blocks, finished_cache, interrupted_cache, tmp_path, monkeypatch
):
    teacher, folder = finished_cache
    if blocks is None:
        shutil.copytree(folder, tmp_path / "cache")
    else:
        interrupted_cache(
            blocks, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7
        )
    before = content(tmp_path / "cache")

    def otherwise(images, height, width):
        return keras.ops.image.resize(images, (height, width), antialias=False)

    monkeypatch.setattr("keras_distill.models.teacher_view._resized", otherwise)
    with pytest.raises(
        ValueError, match=r"prepared has changed.*% apart, of at most 2%"
    ):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    assert content(tmp_path / "cache") == before


# Folders that cannot be used.


def test_a_folder_of_something_else_is_refused(finished_cache, tmp_path):
    teacher, _ = finished_cache
    (tmp_path / "thesis.tex").write_text("draft")
    with pytest.raises(FileExistsError, match=r"its own.*\['thesis.tex'\]"):
        cache_embeddings(teacher, IMAGES, tmp_path)
    with pytest.raises(FileExistsError, match="not a file.*thesis.tex"):
        cache_embeddings(teacher, IMAGES, tmp_path / "thesis.tex")
    assert content(tmp_path) == {"thesis.tex": b"draft"}


def test_a_folder_that_cannot_be_made_is_refused(finished_cache, tmp_path):
    teacher, _ = finished_cache
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written.*folder=.*file/cache"):
        cache_embeddings(teacher, IMAGES, tmp_path / "file" / "cache")


def test_a_disk_that_is_too_small_is_refused_at_once(
    finished_cache, tmp_path, monkeypatch
):
    teacher, _ = finished_cache
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 900)
    )
    with pytest.raises(OSError, match=r"0\.0 MB are needed and 0\.0 MB are free"):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda folder: (folder / "cache.json").write_text("{"), "cache.json is not"),
        (lambda folder: (folder / "cache.json").write_text("[]"), "cache.json is not"),
        (
            lambda folder: (folder / "cache.json").write_text('{"format": "other"}'),
            "format='other'",
        ),
        (lambda folder: (folder / "embeddings.npy").unlink(), "embeddings.npy is not"),
        (
            lambda folder: (folder / "embeddings.npy").write_bytes(
                (folder / "embeddings.npy").read_bytes()[:-1]
            ),
            "embeddings.npy is not",
        ),
        (
            lambda folder: np.save(folder / "embeddings.npy", np.zeros((1, 30, 4))),
            "embeddings.npy is not",
        ),
        (lambda folder: (folder / "images.npz").unlink(), "images.npz is not"),
        (
            lambda folder: (folder / "images.npz").write_bytes(b"PK"),
            "images.npz is not",
        ),
    ],
)
def test_a_broken_cache_is_refused(finished_cache, harm, message, tmp_path):
    teacher, folder = finished_cache
    shutil.copytree(folder, tmp_path / "cache")
    harm(tmp_path / "cache")
    with pytest.raises(ValueError, match=f"{message}.*"):
        TeacherCache(tmp_path / "cache")
    with pytest.raises(ValueError, match=f"{message}.*"):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
