import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_distill import Distiller, models
from keras_distill.data import (
    FixedViews,
    ImageSet,
    TeacherCache,
    cache_embeddings,
    class_balanced,
)
from keras_distill.layers import RandomAffine
from keras_distill.losses import MultiSimilarity
from keras_distill.methods import RelationalKL

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (30, 12, 12, 1), np.uint8)
IMAGES = ImageSet(PIXELS, np.arange(30) // 5)
VIEWS = FixedViews(RandomAffine(shift=0.2, rotation=30), count=3)


def small_model(size, dim, name=None):
    return keras.Sequential(
        [
            keras.Input((size, size, 1)),
            layers.Rescaling(1 / 128, offset=-1),
            layers.Conv2D(6, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(dim),
        ],
        name=name,
    )


@pytest.fixture(scope="module")
def teacher():
    keras.utils.set_random_seed(0)
    return small_model(9, 5, "owl")


@pytest.fixture(scope="module")
def cache(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "owl"
    return cache_embeddings(teacher, IMAGES, folder, VIEWS)


def dataset(pixels=PIXELS, batch=8):
    return tf.data.Dataset.from_tensor_slices((pixels, np.arange(len(pixels)))).batch(
        batch
    )


@pytest.fixture(scope="module")
def by_position(teacher, tmp_path_factory):
    return cache_embeddings(teacher, dataset(), tmp_path_factory.mktemp("places") / "c")


# Opening and looking up.


def test_a_cache_is_opened_without_its_teacher(cache):
    again = TeacherCache(cache.folder)
    assert isinstance(again.embeddings, np.memmap)
    assert not again.embeddings.flags.writeable
    assert (again.dim, again.views, again.ids) == (5, 3, IMAGES.ids)
    assert repr(again).endswith("30 images x 3 views, 5 dimensions>")


def test_opening_reads_no_embedding(cache, tmp_path):
    shutil.copytree(cache.folder, tmp_path / "huge")
    with open(tmp_path / "huge" / "embeddings.npy", "wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (3, 30, 10**8)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.truncate(stream.tell() + 4 * 3 * 30 * 10**8)  # 36 GB of holes
    assert TeacherCache(tmp_path / "huge").dim == 10**8


def test_lookup_takes_the_view_of_each_row(cache):
    rows, views = np.array([4, 0, 29, 4]), np.array([2, 0, 1, 1])
    found = cache.lookup(rows, views)
    expected = [cache.embeddings[v, r] for v, r in zip(views, rows, strict=True)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(cache.lookup(rows, 1), cache.embeddings[1, rows])
    assert found.dtype == np.float32 and not isinstance(found, np.memmap)


def test_images_are_found_by_id_in_any_part_and_order(cache):
    order = RNG.permutation(30)[:12]
    np.testing.assert_array_equal(cache.rows(IMAGES.subset(order)), order)
    some = IMAGES.take_classes(["1", "5"])
    expected = np.flatnonzero(np.isin(IMAGES.labels, [1, 5]))
    np.testing.assert_array_equal(cache.rows(some), expected)


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="made by `cache_embeddings`.*folder="):
        TeacherCache(tmp_path / "nothing")


# In class-balanced batches.


def test_the_batches_are_those_of_a_live_teacher(cache, teacher):
    live = class_balanced(IMAGES, 4, 3, augment=VIEWS, seed=2)
    cached = class_balanced(IMAGES, 4, 3, augment=VIEWS, seed=2, teacher=cache)
    assert cached.cardinality() == live.cardinality()
    inputs, labels = cached.element_spec
    assert inputs["image"] == live.element_spec[0] and labels == live.element_spec[1]
    assert inputs["teacher_embedding"] == tf.TensorSpec((12, 5), tf.float32)
    ask = models.teacher_view.TeacherView(teacher)
    for _ in range(4):  # epochs
        for (images, labels), (inputs, same) in zip(live, cached, strict=True):
            np.testing.assert_array_equal(images, inputs["image"])
            np.testing.assert_array_equal(labels, same)
            said, _ = ask(images)
            np.testing.assert_allclose(
                inputs["teacher_embedding"], said, rtol=1e-5, atol=1e-5
            )


def test_a_validation_part_needs_no_cache_of_its_own(cache, teacher):
    part = IMAGES.take_classes(["1", "3", "4"])
    batches = class_balanced(part, 3, 2, augment=VIEWS, teacher=cache)
    ask = models.teacher_view.TeacherView(teacher)
    for inputs, _ in batches:
        said, _ = ask(inputs["image"])
        np.testing.assert_allclose(
            inputs["teacher_embedding"], said, rtol=1e-5, atol=1e-5
        )


def test_without_views_the_cache_is_of_the_images(teacher, tmp_path):
    cache = cache_embeddings(teacher, IMAGES, tmp_path / "plain")
    for augment in (None, FixedViews(None, count=1)):
        plain = class_balanced(IMAGES, 4, 3)
        batches = class_balanced(IMAGES, 4, 3, augment=augment, teacher=cache)
        for (images, _), (inputs, _) in zip(plain, batches, strict=True):
            np.testing.assert_array_equal(images, inputs["image"])


class Losses(keras.callbacks.Callback):
    """The loss of each step: Keras logs means over the epoch so far."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(logs["loss"])


def test_training_from_the_cache_is_training_with_the_live_teacher(cache, teacher):
    def losses(with_teacher, batches):
        keras.utils.set_random_seed(1)
        student = small_model(12, 3)
        distiller = Distiller(student, [RelationalKL(weight=50)], teacher=with_teacher)
        distiller.compile(keras.optimizers.Adam(1e-3), MultiSimilarity())
        noted = Losses()
        distiller.fit(batches, epochs=4, verbose=0, callbacks=[noted])
        return np.array(noted.steps), student.get_weights()

    live = class_balanced(IMAGES, 4, 3, augment=VIEWS)
    cached = class_balanced(IMAGES, 4, 3, augment=VIEWS, teacher=cache)
    expected, live_weights = losses(teacher, live)
    found, weights = losses(None, cached)
    assert len(found) == 8 and np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    for one, other in zip(weights, live_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


OTHER = PIXELS.copy()
OTHER[[3, 8]] += 1


@pytest.mark.parametrize(
    "images, message",
    [
        (ImageSet(PIXELS, IMAGES.labels, name="new"), "30 of 30.*not in the.*'new/0'"),
        (
            ImageSet(np.tile(PIXELS, (2, 1, 1, 1)), np.arange(60) // 5),
            r"30 of 60 images of 'images' are not in.*ids=\['images/30'",
        ),
        (ImageSet(OTHER, IMAGES.labels), r"2 of 30.*other pixels.*ids=\['images/3', "),
        (ImageSet(PIXELS[:, :11], IMAGES.labels), r"another size.*\[11, 12, 1\]"),
    ],
)
def test_images_that_were_not_cached_are_refused_before_the_first_batch(
    cache, images, message
):
    with pytest.raises(ValueError, match=message):
        class_balanced(images, 4, 3, augment=VIEWS, teacher=cache)


@pytest.mark.parametrize(
    "augment, error, message",
    [
        (None, ValueError, "augmentation of the views, the number of views changed"),
        (FixedViews(RandomAffine(0.2, 30), 2), ValueError, "the number of views chang"),
        (FixedViews(RandomAffine(0.2, 30), 3, 1), ValueError, "the seed of the views"),
        (FixedViews(RandomAffine(0.2), 3), ValueError, "augmentation.*Received: views"),
        (RandomAffine(0.2, 30), TypeError, "fixed views.*augment=<RandomAffine"),
        ([VIEWS], TypeError, "must be the FixedViews"),
    ],
)
def test_other_views_than_those_cached_are_refused(cache, augment, error, message):
    with pytest.raises(error, match=message):
        class_balanced(IMAGES, 4, 3, augment=augment, teacher=cache)


def test_what_is_not_a_cache_of_an_image_set_is_refused(cache, teacher, by_position):
    with pytest.raises(TypeError, match=r"Distiller\(teacher=...\).*teacher=<Seq"):
        class_balanced(IMAGES, 4, 3, augment=VIEWS, teacher=teacher)
    with pytest.raises(TypeError, match="ids of an ImageSet.*as arrays"):
        class_balanced(IMAGES.arrays(), 4, 3, augment=VIEWS, teacher=cache)
    with pytest.raises(ValueError, match="goes by position: use `cache.attach"):
        class_balanced(IMAGES, 4, 3, teacher=by_position)
    with pytest.raises(ValueError, match=r"goes by ids: use `class_balanced\(.*folder"):
        cache.attach(dataset())


# Attached to a dataset of one's own.


def test_each_image_gets_its_embedding_and_the_rest_stays(by_position):
    batches = list(by_position.attach(dataset()).as_numpy_iterator())
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 6]
    images = np.concatenate([inputs["image"] for inputs, _ in batches])
    said = np.concatenate([inputs["teacher_embedding"] for inputs, _ in batches])
    np.testing.assert_array_equal(images, PIXELS)
    np.testing.assert_array_equal(said, by_position.embeddings[0])
    np.testing.assert_array_equal(
        np.concatenate([labels for _, labels in batches]), range(30)
    )


def test_inputs_of_every_form_get_it(by_position):
    plain = dataset()
    (inputs, *_) = by_position.attach(plain.map(lambda x, _: x))
    assert sorted(inputs) == ["image", "teacher_embedding"]
    inputs, labels, weights = next(
        iter(by_position.attach(plain.map(lambda x, y: ({"image": x, "id": y}, y, y))))
    )
    assert sorted(inputs) == ["id", "image", "teacher_embedding"]
    np.testing.assert_array_equal(weights, inputs["id"])
    # The image that was embedded is the one that the teacher would see.
    other = plain.map(lambda x, y: ({"image": 255 - x, "teacher_image": x}, y))
    assert len(list(by_position.attach(other))) == 4


def test_the_result_is_shuffled_batched_and_repeated_like_any_dataset(by_position):
    attached = by_position.attach(dataset(batch=11))
    assert attached.cardinality() == 3
    assert attached.element_spec[0]["teacher_embedding"].shape == (None, 5)
    mixed = attached.unbatch().shuffle(30).repeat(2).batch(12)
    count = 0
    for inputs, labels in mixed:
        expected = by_position.embeddings[0, labels.numpy()]
        np.testing.assert_array_equal(inputs["teacher_embedding"], expected)
        np.testing.assert_array_equal(inputs["image"], PIXELS[labels.numpy()])
        count += len(labels)
    assert count == 60


def test_fit_trains_from_it(by_position):
    distiller = Distiller(small_model(12, 3), [RelationalKL()])
    distiller.compile(keras.optimizers.Adam(1e-2))
    batches = by_position.attach(dataset()).unbatch().shuffle(30).batch(10)
    # Keras warns at the end of a dataset whose length it does not know.
    batches = batches.apply(tf.data.experimental.assert_cardinality(3))
    losses = distiller.fit(batches, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    "change, place",
    [
        (lambda data: data.unbatch().shuffle(30, seed=1).batch(8), r"\d+"),
        (lambda data: data.map(lambda x, y: (x[:, ::-1], y)), "0"),
        (lambda data: data.skip(1), "0"),
        (
            lambda data: data.map(
                lambda x, y: (
                    tf.where(y[:, None, None, None] == 13, x // 2, x),
                    y,
                )
            ),
            "13",
        ),
    ],
    ids=["shuffled", "augmented", "another place", "one image"],
)
def test_images_that_are_not_those_embedded_end_the_iteration(
    by_position, change, place
):
    attached = by_position.attach(change(dataset()))
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=f"Image {place} of the dataset is not the one that was embedded",
    ):
        list(attached)


def test_more_images_than_the_cache_holds_end_the_iteration(by_position):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="more images than the 30.*after `attach`"
    ):
        list(by_position.attach(dataset().repeat(2)))


@pytest.mark.parametrize(
    "data, error, message",
    [
        (dataset(PIXELS[:, :11]), ValueError, r"another size.*\[11, 12, 1\], cache of"),
        (dataset().unbatch(), TypeError, "batches of images"),
        (
            dataset().map(lambda x, y: ({"image": x, "teacher_embedding": x}, y)),
            ValueError,
            "a 'teacher_embedding' already",
        ),
    ],
)
def test_datasets_that_cannot_be_attached_are_refused(
    by_position, data, error, message
):
    with pytest.raises(error, match=message):
        by_position.attach(data)
