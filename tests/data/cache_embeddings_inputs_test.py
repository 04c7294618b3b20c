"""Which teachers, images and data sets can be cached, and which cannot."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

from keras_distill.data import ImageSet, cache_embeddings, image_folder
from keras_distill.models.teacher_view import TeacherView
from tests.data.counting_teacher import (
    AFFINE,
    IMAGES,
    OTHER_PIXELS,
    PIXELS,
    VIEWS,
    make_teacher,
    seen,
)


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
def test_what_cannot_be_is_refused(arguments, error, message, finished_cache, tmp_path):
    given = {"teacher": finished_cache[0], "images": IMAGES, **arguments}
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


def test_a_dataset_goes_on_where_it_stopped(interrupted_cache, tmp_path):
    teacher = make_teacher()
    interrupted_cache(2, teacher, dataset(), tmp_path / "cache")
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
