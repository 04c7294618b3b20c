import contextlib
import errno
import json
import resource
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from keras_distill import layers as our_layers
from keras_distill.data import (
    FixedViews,
    ImageSet,
    TeacherCache,
    cache_embeddings,
    image_folder,
)
from keras_distill.data.resumable_rows import ResumableRows, held
from keras_distill.models.teacher_view import TeacherView

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 12, 12, 1), np.uint8)
IMAGES = ImageSet(PIXELS, np.arange(30) // 5)
AFFINE = our_layers.RandomAffine(shift=0.2, rotation=30)
VIEWS = FixedViews(AFFINE, count=2, seed=3)


class Counter(keras.layers.Layer):
    """Passes images on and notes how many went by, in inference."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def call(self, images):
        def note(count):
            self.seen.append(int(count))
            return count

        noted = tf.numpy_function(note, [tf.shape(images)[0]], tf.int32)
        with tf.control_dependencies([noted]):
            return tf.identity(images)


def make_teacher(seed=0, size=9, dim=4, activation="relu", **kwargs):
    """A teacher of another resolution, whose layer `counter` counts its images."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 1), **kwargs)
    x = layers.Rescaling(1 / 255)(Counter(name="counter")(image))
    x = layers.Conv2D(5, 3, activation=activation)(x)
    x = layers.BatchNormalization()(layers.Dropout(0.5)(x))
    return keras.Model(image, layers.Dense(dim)(layers.Flatten()(x)), name="owl")


def seen(teacher):
    return sum(teacher.get_layer("counter").seen)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A teacher, and the folder of its cache, not to be written to."""
    teacher, folder = make_teacher(), tmp_path_factory.mktemp("cache") / "owl"
    cache_embeddings(teacher, IMAGES, folder, VIEWS, batch_size=7)
    return teacher, folder


@pytest.fixture
def interrupted(monkeypatch):
    """Makes a cache until Ctrl-C comes with so many blocks written."""

    def until(blocks, *args, **kwargs):
        left = [blocks]
        append = ResumableRows.append

        def appended(self, block):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            append(self, block)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(ResumableRows, "append", appended)
            cache_embeddings(*args, **kwargs)

    return until


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# What is in it.


def test_it_holds_what_the_teacher_says_of_each_view(finished):
    teacher, folder = finished
    cache = TeacherCache(folder)
    ask, rows = TeacherView(teacher), tf.range(30, dtype=tf.int64)
    for view in range(2):
        images = VIEWS.of(IMAGES)(rows, tf.fill([30], tf.constant(view, tf.int64)))
        said, _ = ask(images)
        np.testing.assert_allclose(cache.embeddings[view], said, rtol=1e-5, atol=1e-5)
    assert cache.embeddings.shape == (2, 30, 4)
    assert np.abs(cache.embeddings[0] - cache.embeddings[1]).min(axis=1).max() > 0.01


def test_the_folder_holds_an_array_of_numpy_and_its_description(finished):
    _, folder = finished
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


def test_the_batch_size_does_not_matter(finished, tmp_path):
    teacher, folder = finished
    other = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=64)
    expected = TeacherCache(folder).embeddings
    np.testing.assert_allclose(other.embeddings, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "teacher",
    [
        lambda: make_teacher(dtype="uint8"),
        lambda: make_teacher(size=24),
        lambda: keras.models.clone_model(
            keras.Sequential(
                [
                    keras.Input((10, 10, 3)),
                    layers.Rescaling(1 / 255),
                    layers.Flatten(),
                    layers.Dense(3, dtype="mixed_float16"),
                ]
            )
        ),
    ],
    ids=["integers", "larger", "colour and half precision"],
)
def test_teachers_of_any_resolution_dtype_and_channels(teacher, tmp_path):
    teacher = teacher()
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache")
    said, _ = TeacherView(teacher)(IMAGES.read(range(30)).astype("float32"))
    said = np.asarray(said, np.float32)
    np.testing.assert_allclose(cache.embeddings[0], said, rtol=2e-3, atol=2e-3)
    cache_embeddings(teacher, IMAGES, tmp_path / "cache")


def test_images_in_files_are_cached(tmp_path):
    for row, pixels in enumerate(PIXELS):
        path = tmp_path / "images" / str(row // 5) / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[..., 0]).save(path)
    files = image_folder(tmp_path / "images", 12, memory_limit=0)
    assert not files.in_memory
    teacher = make_teacher()
    cache = cache_embeddings(teacher, files, tmp_path / "cache", VIEWS)
    held_in_memory = image_folder(tmp_path / "images", 12)
    before = seen(teacher)
    again = cache_embeddings(teacher, held_in_memory, tmp_path / "cache", VIEWS)
    np.testing.assert_array_equal(again.embeddings, cache.embeddings)
    assert seen(teacher) - before == 8


# Once.


def test_a_finished_cache_asks_the_teacher_about_eight_images_only(finished):
    teacher, folder = finished
    before, asked = content(folder), seen(teacher)
    cache = cache_embeddings(teacher, IMAGES, folder, VIEWS, batch_size=256)
    assert cache.embeddings.shape == (2, 30, 4)
    assert seen(teacher) - asked == 8 and content(folder) == before


def test_it_says_once_that_it_embeds(finished, tmp_path, capfd):
    teacher, folder = finished
    cache_embeddings(teacher, IMAGES, folder, VIEWS)
    assert capfd.readouterr().err == ""
    cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    (line,) = capfd.readouterr().err.splitlines()
    said, _, where = line.partition("; kept in ")
    assert said == "Embedding 30 images in 2 views with 'owl', once"
    assert where == str(tmp_path / "cache")


def test_an_interrupted_run_goes_on_and_asks_for_the_rest_alone(
    finished, interrupted, tmp_path, capfd
):
    _, folder = finished
    teacher = make_teacher()
    # Blocks of 7, 7, 7, 7, 2 images of view 0, then 7 of view 1.
    interrupted(6, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
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


def test_what_is_half_written_is_embedded_again(finished, interrupted, tmp_path):
    teacher, folder = finished
    interrupted(3, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
    with open(tmp_path / "cache" / "embeddings.npy", "r+b") as stream:
        stream.seek(-50, 2)  # in the third block
        stream.write(bytes(20))
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    expected = TeacherCache(folder).embeddings
    np.testing.assert_allclose(cache.embeddings, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("left", [[], ["finished_blocks.txt"], ["images.npz"]])
def test_a_kill_before_the_first_block_is_no_hindrance(finished, left, tmp_path):
    teacher, _ = finished
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".cache.0123.json").write_text("{")  # hidden, of `atomic`
    for name in left:
        (tmp_path / "cache" / name).write_bytes(b"")
    assert len(cache_embeddings(teacher, IMAGES, tmp_path / "cache").ids) == 30


def test_a_kill_before_the_journal_was_removed_is_no_hindrance(finished, tmp_path):
    teacher, folder = finished
    shutil.copytree(folder, tmp_path / "cache")
    (tmp_path / "cache" / "finished_blocks.txt").write_bytes(b"")
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)
    assert cache.embeddings.shape == (2, 30, 4)


def test_two_at_once_are_refused(finished, tmp_path):
    teacher, _ = finished
    (tmp_path / "cache").mkdir()
    with held(tmp_path / "cache" / "finished_blocks.txt"):
        with pytest.raises(BlockingIOError, match="Another process.*folder="):
            cache_embeddings(teacher, IMAGES, tmp_path / "cache")
    cache_embeddings(teacher, IMAGES, tmp_path / "cache")


def test_one_that_comes_when_another_has_just_finished_takes_that(
    finished, tmp_path, monkeypatch
):
    teacher, folder = finished

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


# What has changed is refused, and nothing is overwritten.


def trained(teacher):
    weight = teacher.weights[0]
    weight.assign(weight * 1.001)
    return teacher


OTHER_PIXELS = PIXELS.copy()
OTHER_PIXELS[[4, 9], 3, 3] ^= 1

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
def test_a_cache_of_something_else_is_refused(finished, change, message):
    teacher, folder = finished
    before = content(folder)
    given = {"teacher": lambda: teacher, "images": IMAGES, "views": VIEWS, **change}
    with pytest.raises(ValueError, match=f"left as it is.*{message}.*Received: folder"):
        cache_embeddings(given["teacher"](), given["images"], folder, given["views"])
    assert content(folder) == before


def test_the_same_teacher_and_views_written_anew_are_not_refused(finished):
    _, folder = finished
    again = FixedViews([our_layers.RandomAffine(0.2, 30, seed=5)], 2, np.int64(3))
    relabelled = ImageSet(PIXELS, np.arange(30) % 2)
    cache_embeddings(make_teacher(), relabelled, folder, again)


def test_an_unfinished_cache_of_something_else_is_refused(
    finished, interrupted, tmp_path
):
    teacher, _ = finished
    interrupted(2, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
    before = content(tmp_path / "cache")
    with pytest.raises(ValueError, match="Changed: the teacher's weights. Received"):
        cache_embeddings(make_teacher(seed=1), IMAGES, tmp_path / "cache", VIEWS)
    assert content(tmp_path / "cache") == before


@pytest.mark.parametrize("blocks", [2, None], ids=["unfinished", "finished"])
def test_code_that_prepares_images_in_another_way_is_refused(
    blocks, finished, interrupted, tmp_path, monkeypatch
):
    teacher, folder = finished
    if blocks is None:
        shutil.copytree(folder, tmp_path / "cache")
    else:
        interrupted(blocks, teacher, IMAGES, tmp_path / "cache", VIEWS, batch_size=7)
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


def test_a_folder_of_something_else_is_refused(finished, tmp_path):
    teacher, _ = finished
    (tmp_path / "thesis.tex").write_text("draft")
    with pytest.raises(FileExistsError, match=r"its own.*\['thesis.tex'\]"):
        cache_embeddings(teacher, IMAGES, tmp_path)
    with pytest.raises(FileExistsError, match="not a file.*thesis.tex"):
        cache_embeddings(teacher, IMAGES, tmp_path / "thesis.tex")
    assert content(tmp_path) == {"thesis.tex": b"draft"}


def test_a_folder_that_cannot_be_made_is_refused(finished, tmp_path):
    teacher, _ = finished
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written.*folder=.*file/cache"):
        cache_embeddings(teacher, IMAGES, tmp_path / "file" / "cache")


def test_a_disk_that_is_too_small_is_refused_at_once(finished, tmp_path, monkeypatch):
    teacher, _ = finished
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 900)
    )
    with pytest.raises(OSError, match=r"0\.0 MB are needed and 0\.0 MB are free"):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)


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
def test_a_broken_cache_is_refused(finished, harm, message, tmp_path):
    teacher, folder = finished
    shutil.copytree(folder, tmp_path / "cache")
    harm(tmp_path / "cache")
    with pytest.raises(ValueError, match=f"{message}.*"):
        TeacherCache(tmp_path / "cache")
    with pytest.raises(ValueError, match=f"{message}.*"):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache", VIEWS)


# What cannot be a teacher, or images.


def model(outputs):
    image = keras.Input((12, 12, 1))
    x = layers.Flatten()(image)
    return keras.Model(image, outputs(x, image), name="bird")


@pytest.mark.parametrize(
    "teacher",
    [
        model(lambda x, _: [layers.Dense(2)(x), layers.Dense(3)(x)]),
        model(lambda x, _: {"embedding": layers.Dense(2)(x)}),
        model(lambda _, image: layers.Conv2D(2, 3)(image)),
    ],
    ids=["list", "dictionary", "map"],
)
def test_a_teacher_that_gives_no_row_an_image_is_refused(teacher, tmp_path):
    with pytest.raises(ValueError, match="one embedding an image.*teacher='bird'"):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_teacher_of_other_channels_is_refused_before_anything_is_written(tmp_path):
    colours = ImageSet(np.repeat(PIXELS, 3, axis=-1), IMAGES.labels)
    with pytest.raises(ValueError, match="takes images of 1 channels"):
        cache_embeddings(make_teacher(), colours, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_teacher_that_gives_what_is_not_finite_is_refused(tmp_path):
    teacher = make_teacher()
    teacher.layers[-1].bias.assign([0.0, np.nan, 0.0, np.inf])
    with pytest.raises(ValueError, match="finite.*teacher='owl', output with 60 that"):
        cache_embeddings(teacher, IMAGES, tmp_path / "cache")


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"teacher": "resnet"}, TypeError, "must be a keras.Model.*'resnet'"),
        ({"images": PIXELS}, TypeError, "ImageSet or as a tf.data.Dataset.*Received"),
        (
            {"images": IMAGES.subset(np.zeros(30, bool))},
            ValueError,
            "no images to embed",
        ),
        ({"views": AFFINE}, TypeError, "must be FixedViews.*views=<RandomAffine"),
        ({"batch_size": 0}, ValueError, "positive integer.*batch_size=0"),
        (
            {"images": IMAGES.batches(8), "views": VIEWS},
            ValueError,
            "`views` are made of an ImageSet.*views=<FixedViews",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, error, message, finished, tmp_path):
    given = {"teacher": finished[0], "images": IMAGES, **arguments}
    with pytest.raises(error, match=message):
        cache_embeddings(folder=tmp_path / "cache", **given)
    assert not (tmp_path / "cache").exists()


# A dataset of one's own.


def dataset(pixels=PIXELS, batch=8):
    labels = np.arange(len(pixels))
    floats = pixels.astype("float32") * 0.9
    return tf.data.Dataset.from_tensor_slices((floats, labels)).batch(batch)


def test_a_dataset_is_cached_by_position(tmp_path):
    teacher = make_teacher()
    said, _ = TeacherView(teacher)(PIXELS.astype("float32") * 0.9)
    plain = dataset()
    forms = {
        "pairs": plain,
        "images": plain.map(lambda x, _: x),
        "dictionaries": plain.map(lambda x, y: ({"image": x, "id": y}, y)),
        "teacher's": plain.map(lambda x, y: ({"image": -x, "teacher_image": x}, y)),
        "unknown length": plain.unbatch().filter(lambda *_: True).batch(7),
    }
    for name, form in forms.items():
        cache = cache_embeddings(teacher, form, tmp_path / name)
        assert cache.ids is None and cache.embeddings.shape == (1, 30, 4)
        np.testing.assert_allclose(cache.embeddings[0], said, rtol=1e-5, atol=1e-5)
    asked = seen(teacher)
    # In other batches too: it goes by images, not by batches.
    cache_embeddings(teacher, dataset(batch=11), tmp_path / "pairs")
    assert seen(teacher) - asked == 8


def test_a_dataset_goes_on_where_it_stopped(interrupted, tmp_path):
    teacher = make_teacher()
    interrupted(2, teacher, dataset(), tmp_path / "cache")
    teacher.get_layer("counter").seen.clear()
    cache = cache_embeddings(teacher, dataset(batch=9), tmp_path / "cache")
    assert teacher.get_layer("counter").seen == [8, 2, 9, 3]
    said, _ = TeacherView(teacher)(PIXELS.astype("float32") * 0.9)
    np.testing.assert_allclose(cache.embeddings[0], said, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "other, message",
    [
        (dataset(PIXELS[:-1]), "number of images, which was 30"),
        (dataset(PIXELS[::-1]), "30 images, or their order"),
        (dataset(OTHER_PIXELS ^ np.uint8(1)), "30 images, or their order"),
        (dataset(PIXELS[:, :11]), "size of the images"),
    ],
)
def test_another_dataset_is_refused(other, message, tmp_path):
    teacher = make_teacher()
    cache_embeddings(teacher, dataset(), tmp_path / "cache")
    with pytest.raises(ValueError, match=f"Changed: .*{message}.*Received: folder"):
        cache_embeddings(teacher, other, tmp_path / "cache")


@pytest.mark.parametrize(
    "moving",
    [
        dataset().unbatch().shuffle(30).batch(8),
        dataset().map(lambda x, y: (x + tf.random.uniform([]), y)),
    ],
    ids=["shuffled", "augmented"],
)
def test_a_dataset_that_is_another_each_time_is_refused(moving, tmp_path):
    with pytest.raises(ValueError, match="shuffles, or augments anew.*Received"):
        cache_embeddings(make_teacher(), moving, tmp_path / "cache")


@pytest.mark.parametrize(
    "images, error, message",
    [
        (dataset().repeat(), ValueError, "come to an end: cache before `repeat`"),
        (dataset().take(0), ValueError, "no images to embed"),
        (dataset().unbatch(), TypeError, r"batches of images \(B, H, W, C\).*Received"),
        (dataset().map(lambda x, y: ({"x": x}, y)), TypeError, "'image' in a dict"),
        (dataset().map(lambda x, y: ({"image": y}, y)), TypeError, "batches of images"),
        (
            dataset().map(
                lambda x, y: (tf.ensure_shape(x[:, : y[0] + 5], (None, None, 12, 1)), y)
            ),
            ValueError,
            "must be known.*tf.ensure_shape.*images.shape=",
        ),
    ],
)
def test_datasets_that_cannot_be_are_refused(images, error, message, tmp_path):
    with pytest.raises(error, match=message):
        cache_embeddings(make_teacher(), images, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
