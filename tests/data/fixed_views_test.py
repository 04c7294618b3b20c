import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import FixedViews, ImageSet, class_balanced
from keras_distill.data.fixed_views import id_keys
from keras_distill.layers import RandomAffine


def image_set(classes=6, per_class=5, size=12):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (classes * per_class, size, size, 1), np.uint8)
    return ImageSet(pixels, np.arange(len(pixels)) // per_class)


IMAGES = image_set()
AFFINE = RandomAffine(shift=0.2, rotation=30, scale=0.3, shear=10)


def shown(views, images, rows, of):
    """float32 images of those rows, from a pipeline."""
    places = np.array(rows, np.int64), np.array(of, np.int64)
    batch = tf.data.Dataset.from_tensor_slices(places).batch(len(rows), True)
    return batch.map(views.of(images)).get_single_element().numpy()


def all_views(views, images=IMAGES):
    """`(views, N, H, W, C)`."""
    of, rows = np.divmod(np.arange(views.count * len(images)), len(images))
    found = shown(views, images, rows, of)
    return found.reshape(views.count, len(images), *images.image_shape)


def test_a_view_is_the_same_pixels_in_every_batch():
    views = FixedViews(AFFINE, count=3)
    expected = all_views(views)
    rng = np.random.default_rng(1)
    # Sizes at which vectorised arithmetic leaves a rest, which it computes otherwise.
    for size in (1, 2, 3, 7, 8, 9, 15, 16, 17, 29):
        rows, of = rng.integers(0, 30, size), rng.integers(0, 3, size)
        found = shown(views, IMAGES, rows, of)
        np.testing.assert_array_equal(found, expected[of, rows])


def test_a_view_is_the_same_pixels_in_every_order_and_subset():
    views = FixedViews(AFFINE, count=2)
    expected = all_views(views)
    order = np.random.default_rng(1).permutation(30)[:11]
    found = all_views(views, IMAGES.subset(order))
    np.testing.assert_array_equal(found, expected[:, order])
    some = IMAGES.take_classes(["2", "4"])
    rows = np.flatnonzero(np.isin(IMAGES.labels, [2, 4]))
    np.testing.assert_array_equal(all_views(views, some), expected[:, rows])


def test_views_differ_from_each_other_between_images_and_by_seed():
    blank = np.zeros((8, 12, 12, 1), np.uint8)
    blank[:, 4:7, 5:9] = 200
    same = ImageSet(blank, np.arange(8) // 2)
    seen = [all_views(FixedViews(AFFINE, 4, seed), same) for seed in (0, 1, -1)]
    assert len({view.tobytes() for view in np.concatenate(seen).reshape(96, -1)}) == 96


def test_more_views_leave_those_that_were_there_as_they_are():
    few, many = FixedViews(AFFINE, 2), FixedViews(AFFINE, 4)
    np.testing.assert_array_equal(all_views(few), all_views(many)[:2])


def test_the_draws_are_uniform_and_independent_of_each_other():
    views = FixedViews(AFFINE, count=2)
    keys = id_keys(f"image {row}" for row in range(20_000))
    draws = np.concatenate(
        [views.draws(keys, np.zeros(20_000, int)), views.draws(keys, keys % 1 + 1)], 1
    )
    assert draws.dtype == np.float32 and draws.shape == (20_000, 10)
    assert -1 <= draws.min() < -0.999 and 0.999 < draws.max() < 1
    shares = [np.histogram(column, 20, (-1, 1))[0] / 1000 for column in draws.T]
    assert np.abs(np.array(shares) - 1).max() < 0.15  # of 1000: 4.7 deviations
    correlations = np.corrcoef(draws.T) - np.eye(10)
    assert np.abs(correlations).max() < 0.035


def test_draws_reach_each_layer_of_a_list():
    class Dim(keras.layers.Layer):
        draws_per_image = 1

        def call(self, images, training=None, draws=None):
            return images * (1 + draws[:, :, None, None]) / 2

    plain = all_views(FixedViews([RandomAffine(0, 0, 0), Dim()], count=2))
    factor = plain / np.maximum(IMAGES.read(range(30)), 1e-9)
    assert 0 <= factor.min() and factor.max() <= 1.0001
    darker = factor.max(axis=(2, 3, 4))
    assert darker.std() > 0.2  # each image and view by its own number
    moved = all_views(FixedViews([Dim(), AFFINE], count=2))
    assert np.abs(moved - plain).mean() > 10


def test_without_augmentation_the_one_view_is_the_image():
    found = all_views(FixedViews(None, count=1))
    np.testing.assert_array_equal(found[0], IMAGES.read(range(30)))
    assert found.dtype == np.float32


# Which view an epoch shows.


def test_an_image_goes_through_all_its_views_before_one_comes_again():
    views, keys = FixedViews(AFFINE, count=5), id_keys(IMAGES.ids)
    for turn in range(3):
        epochs = [views.of_epoch(keys, 5 * turn + e, seed=0) for e in range(5)]
        assert (np.sort(epochs, axis=0) == np.arange(5)[:, None]).all()
    orders = [views.of_epoch(keys, number, seed=0) for number in range(15)]
    assert (np.array(orders[:5]) != np.array(orders[5:10])).any()


def test_an_image_that_an_epoch_shows_again_comes_in_another_view():
    views, keys = FixedViews(AFFINE, count=4), id_keys(IMAGES.ids)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(30), 6))
    of = views.of_epoch(keys[rows].reshape(20, 9), 7, seed=0)
    assert of.shape == (20, 9)
    for row in range(30):
        times = np.bincount(of.ravel()[rows == row], minlength=4)
        assert sorted(times) == [1, 1, 2, 2]


def test_views_are_evenly_used_in_each_epoch_and_depend_on_the_seed():
    views, keys = FixedViews(AFFINE, count=4), id_keys(map(str, range(8000)))
    first = views.of_epoch(keys, 0, seed=0)
    assert np.abs(np.bincount(first) / 2000 - 1).max() < 0.08
    assert 0.2 < (first == views.of_epoch(keys, 0, seed=1)).mean() < 0.3
    np.testing.assert_array_equal(first, views.of_epoch(keys, 0, seed=0))


# In batches.


def test_batches_show_fixed_views_and_any_epoch_can_be_begun_at():
    views = FixedViews(AFFINE, count=3)
    known = {image.tobytes() for image in all_views(views).reshape(90, -1)}
    dataset = class_balanced(IMAGES, 5, 3, augment=views)
    epochs = [list(dataset.as_numpy_iterator()) for _ in range(3)]
    images = np.concatenate([x for epoch in epochs for x, _ in epoch])
    assert {image.tobytes() for image in images} <= known
    assert len({image.tobytes() for image in images}) > 60
    late = class_balanced(IMAGES, 5, 3, augment=views, first_epoch=2)
    for (x, y), (again, labels) in zip(
        epochs[2], late.as_numpy_iterator(), strict=True
    ):
        np.testing.assert_array_equal(x, again)
        np.testing.assert_array_equal(y, labels)


def test_batches_hold_the_images_that_they_hold_without_views():
    plain = class_balanced(IMAGES, 5, 3, seed=4)
    fixed = class_balanced(IMAGES, 5, 3, augment=FixedViews(None, count=1), seed=4)
    assert fixed.element_spec == plain.element_spec
    assert fixed.cardinality() == plain.cardinality()
    for (x, y), (same, labels) in zip(plain, fixed, strict=True):
        np.testing.assert_array_equal(x, same)
        np.testing.assert_array_equal(y, labels)


def test_arrays_have_views_too():
    pixels, labels = IMAGES.arrays()
    views = FixedViews(AFFINE, count=2)
    (x, _), *_ = class_balanced((pixels, labels), 5, 3, augment=views)
    (same, _), *_ = class_balanced(IMAGES, 5, 3, augment=views)
    np.testing.assert_array_equal(x, same)


# What is refused.


@pytest.mark.parametrize(
    "layer", [keras.layers.RandomFlip(), lambda images: images], ids=["layer", "lambda"]
)
def test_layers_that_draw_for_themselves_are_refused(layer):
    with pytest.raises(TypeError, match="`draws_per_image`.*their own generators.*aug"):
        FixedViews([AFFINE, layer])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"count": 0}, "positive integer.*count=0"),
        ({"count": True}, "positive integer.*count=True"),
        ({"count": 2.0}, r"positive integer.*count=2\.0"),
        ({"augment": None, "count": 2}, "all views of an image are the same.*count=2"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FixedViews(**{"augment": AFFINE, **arguments})


def test_views_in_a_list_with_other_augmentation_are_refused():
    with pytest.raises(TypeError, match="FixedViews stand alone.*Received: augment="):
        class_balanced(IMAGES, 5, 3, augment=[FixedViews(AFFINE), AFFINE])
