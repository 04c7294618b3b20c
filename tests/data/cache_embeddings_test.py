"""A cache holds what the teacher says, asked once, however often it is interrupted."""

import contextlib
import errno
import json
import resource
import shutil

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import TeacherCache, cache_embeddings
from keras_distill.data.resumable_rows import held
from keras_distill.models.teacher_view import TeacherView
from tests.data.counting_teacher import IMAGES, VIEWS, content, make_teacher, seen

# What is in it.


def test_it_holds_what_the_teacher_says_of_each_view(finished_cache):
    teacher, folder = finished_cache
    cache = TeacherCache(folder)
    ask, rows = TeacherView(teacher), tf.range(30, dtype=tf.int64)
    for view in range(2):
        images = VIEWS.of(IMAGES)(rows, tf.fill([30], tf.constant(view, tf.int64)))
        said, _ = ask(images)
        np.testing.assert_allclose(cache.embeddings[view], said, rtol=1e-5, atol=1e-5)
    assert cache.embeddings.shape == (2, 30, 4)
    assert np.abs(cache.embeddings[0] - cache.embeddings[1]).min(axis=1).max() > 0.01


def test_the_folder_holds_an_array_of_numpy_and_its_description(finished_cache):
    _, folder = finished_cache
    assert sorted(content(folder)) == ["cache.json", "embeddings.npy", "images.npz"]
    assert np.load(folder / "embeddings.npy").dtype == np.float32
    manifest = json.loads((folder / "cache.json").read_text())
    assert manifest["teacher"] == "owl" and manifest["finished"]
    assert manifest["made_of"]["image_shape"] == [12, 12, 1]
    assert manifest["made_of"]["augment"][0]["rotation"] == 30


def test_without_views_it_holds_the_images_themselves(tmp_path):
    teacher = make_teacher()
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "deep" / "cache")
    said, _ = TeacherView(teacher)(IMAGES.read(range(30)).astype("float32"))
    np.testing.assert_allclose(cache.embeddings[0], said, rtol=1e-5, atol=1e-5)
    assert (cache.views, cache.dim, cache.ids) == (1, 4, IMAGES.ids)


def test_the_batch_size_does_not_matter(finished_cache, tmp_path):
    teacher, folder = finished_cache
    other = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=64)
    expected = TeacherCache(folder).embeddings
    np.testing.assert_allclose(other.embeddings, expected, rtol=1e-5, atol=1e-5)


# Once.


def test_a_finished_cache_asks_the_teacher_about_eight_images_only(finished_cache):
    teacher, folder = finished_cache
    before, asked = content(folder), seen(teacher)
    cache = cache_embeddings(teacher, IMAGES, folder, VIEWS, batch_size=256)
    assert cache.embeddings.shape == (2, 30, 4)
    assert seen(teacher) - asked == 8 and content(folder) == before


def test_it_says_once_that_it_embeds(finished_cache, tmp_path, capfd):
    teacher, folder = finished_cache
    cache_embeddings(teacher, IMAGES, folder, VIEWS)
    assert capfd.readouterr().err == ""
    cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    (line,) = capfd.readouterr().err.splitlines()
    said, _, where = line.partition("; kept in ")
    assert said == "Embedding 30 images in 2 views with 'owl', once"
    assert where == str(tmp_path / "cache")


def test_an_interrupted_run_goes_on_and_asks_for_the_rest_alone(
    finished_cache, interrupted_cache, tmp_path, capfd
):
    _, folder = finished_cache
    teacher = make_teacher()
    # Blocks of 7, 7, 7, 7, 2 images of view 0, then 7 of view 1.
    interrupted_cache(6, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
    assert seen(teacher) == 44  # the one that was not written had been asked for
    with pytest.raises(ValueError, match="not finished.*folder="):
        TeacherCache(tmp_path / "cache")
    capfd.readouterr()
    teacher.get_layer("counter").seen.clear()
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=10)
    assert teacher.get_layer("counter").seen == [8, 10, 10, 3]  # eight to compare
    assert "37 of 60 are there" in capfd.readouterr().err
    expected = TeacherCache(folder).embeddings
    np.testing.assert_allclose(cache.embeddings, expected, rtol=1e-5, atol=1e-5)
    assert sorted(content(tmp_path / "cache")) == sorted(content(folder))


def test_what_is_half_written_is_embedded_again(
    finished_cache, interrupted_cache, tmp_path
):
    teacher, folder = finished_cache
    interrupted_cache(3, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
    with open(tmp_path / "cache" / "embeddings.npy", "r+b") as stream:
        stream.seek(-50, 2)  # in the third block
        stream.write(bytes(20))
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    expected = TeacherCache(folder).embeddings
    np.testing.assert_allclose(cache.embeddings, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("left", [[], ["finished_blocks.txt"], ["images.npz"]])
def test_a_kill_before_the_first_block_is_no_hindrance(finished_cache, left, tmp_path):
    teacher, _ = finished_cache
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".cache.0123.json").write_text("{")  # hidden, of `atomic`
    for name in left:
        (tmp_path / "cache" / name).write_bytes(b"")
    assert len(cache_embeddings(teacher, IMAGES, tmp_path / "cache").ids) == 30


def test_a_kill_before_the_journal_was_removed_is_no_hindrance(
    finished_cache, tmp_path
):
    teacher, folder = finished_cache
    shutil.copytree(folder, tmp_path / "cache")
    (tmp_path / "cache" / "finished_blocks.txt").write_bytes(b"")
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    assert cache.embeddings.shape == (2, 30, 4)


def test_two_at_once_are_refused(finished_cache, tmp_path):
    teacher, _ = finished_cache
    (tmp_path / "cache").mkdir()
    with held(tmp_path / "cache" / "finished_blocks.txt"):
        with pytest.raises(BlockingIOError, match="Another process.*folder="):
            cache_embeddings(teacher, IMAGES, tmp_path / "cache")
    cache_embeddings(teacher, IMAGES, tmp_path / "cache")


def test_one_that_comes_when_another_has_just_finished_takes_that(
    finished_cache, tmp_path, monkeypatch
):
    teacher, folder = finished_cache

    @contextlib.contextmanager
    def late(path):
        shutil.copytree(folder, path.parent, dirs_exist_ok=True)
        with held(path) as stream:
            yield stream

    monkeypatch.setitem(cache_embeddings.__globals__, "held", late)
    asked = seen(teacher)
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    assert seen(teacher) == asked
    np.testing.assert_array_equal(cache.embeddings, TeacherCache(folder).embeddings)


def test_a_disk_that_fills_keeps_what_is_finished(tmp_path, capfd):
    teacher = make_teacher(dim=64)
    expected = cache_embeddings(teacher, IMAGES, tmp_path / "roomy", VIEWS)
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Room for a header, forty rows and, in files of their own, the rest.
    resource.setrlimit(resource.RLIMIT_FSIZE, (128 + 40 * 64 * 4, most))
    try:
        # The system's word for a file that may not grow; a full disk says ENOSPC.
        with pytest.raises(
            OSError, match="cannot be written.*is kept.*folder="
        ) as error:
            cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.errno == errno.EFBIG
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    assert "37 of 60 are there" in capfd.readouterr().err
    np.testing.assert_allclose(
        cache.embeddings, expected.embeddings, rtol=1e-5, atol=1e-5
    )
