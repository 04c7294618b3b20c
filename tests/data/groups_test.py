import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import FixedViews, ImageSet, group_rows, groups
from keras_distill.layers import RandomAffine, RandomDegradation


def image_set(sizes, shape=(6, 5, 1)):
    """Images of constant pixels that say their row, with so many of each class."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pixels = np.zeros((len(labels), *shape), np.uint8)
    pixels += np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    names = [f"class {number}" for number in range(len(sizes))]
    return ImageSet(pixels, labels, names, name="set")


IMAGES = image_set([10, 12, 11, 10])
SPOIL = RandomDegradation(noise=50, blur=0, crop=0, occlusion=0, darkness=0, share=1)


def one_pass(dataset):
    """`(images, mask, labels)` of all groups of one iteration."""
    batches = list(dataset.as_numpy_iterator())
    images = np.concatenate([x["image"] for x, _ in batches])
    mask = np.concatenate([x["mask"] for x, _ in batches])
    return images, mask, np.concatenate([y for _, y in batches])


def members(dataset):
    """Rows of the members of each group, from their pixels."""
    images, mask, labels = one_pass(dataset)
    rows = images[:, :, 0, 0, 0].astype(int)
    return [own[held].tolist() for own, held in zip(rows, mask, strict=True)], labels


# Which images.


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_group_holds_different_images_of_its_class(count):
    found, labels = members(groups(IMAGES, 2, count, batch_size=3))
    assert len(found) == 4 * count
    for rows, label in zip(found, labels, strict=True):
        assert len(rows) == 2 == len(set(rows))
        assert (IMAGES.labels[rows] == label).all()


@pytest.mark.parametrize("size", [5, (1, 5)])
def test_groups_of_a_pass_share_no_image(size):
    dataset = groups(IMAGES, size, groups_per_class=2)
    for _ in range(5):
        rows = [row for group in members(dataset)[0] for row in group]
        assert len(rows) == len(set(rows))


def test_the_first_groups_of_all_classes_come_before_the_second():
    _, labels = members(groups(IMAGES, 3, groups_per_class=3, batch_size=5))
    assert labels.tolist() == [0, 1, 2, 3] * 3


def test_every_image_is_as_likely_as_the_others_in_any_group():
    images = image_set([4, 5])
    drawn = np.stack([group_rows(images, 2, 2, number=n).rows for n in range(3000)])
    first = np.bincount(drawn[:, 0].ravel(), minlength=9)
    second = np.bincount(drawn[:, 2].ravel(), minlength=9)
    for times in (first, second):  # of class 0, then none of class 1
        np.testing.assert_allclose(times / 3000, [0.5] * 4 + [0] * 5, atol=0.05)
    pairs = {tuple(sorted(pair)) for pair in drawn[:, 0].tolist()}
    assert len(pairs) == 6


def test_classes_without_images_have_no_group():
    some = IMAGES.subset(np.isin(IMAGES.labels, [1, 3]))
    _, labels = members(groups(some, 3))
    assert labels.tolist() == [1, 3]


# Order and repetition.


def test_passes_differ_and_come_again_with_the_seed():
    first, again = groups(IMAGES, 4, 2, seed=7), groups(IMAGES, 4, 2, seed=7)
    passes = [members(first)[0] for _ in range(3)]
    assert passes[0] != passes[1] != passes[2]
    assert [members(again)[0] for _ in range(3)] == passes
    assert members(groups(IMAGES, 4, 2, seed=8))[0] != passes[0]
    late = groups(IMAGES, 4, 2, seed=7, first_pass=2)
    assert members(late)[0] == passes[2]


def test_the_batch_size_does_not_change_the_groups():
    expected = members(groups(IMAGES, 3, 2, batch_size=8))[0]
    for batch_size in (1, 3, 100):
        dataset = groups(IMAGES, 3, 2, batch_size=batch_size)
        assert members(dataset)[0] == expected
        assert dataset.cardinality() == -(-8 // batch_size)


# Sizes.


def test_sizes_of_a_range_are_equally_likely():
    sizes = [
        (group_rows(IMAGES, (2, 4), 2, number=number).rows >= 0).sum(1)
        for number in range(300)
    ]
    values, times = np.unique(sizes, return_counts=True)
    assert values.tolist() == [2, 3, 4]
    np.testing.assert_allclose(times / 2400, 1 / 3, atol=0.05)


def test_sizes_are_cut_where_a_class_has_too_few_and_never_below_the_least():
    images = image_set([7, 40])
    for number in range(50):
        rows = group_rows(images, (3, 9), 2, number=number).rows
        sizes = (rows >= 0).sum(1)  # of class 0, class 1, class 0, class 1
        assert sizes.min() >= 3 and sizes[0] + sizes[2] <= 7
        assert rows.shape == (4, 9)
    plain = [(group_rows(images, (3, 9), 2, number=n).rows >= 0).sum() for n in (0, 1)]
    assert plain[0] != plain[1]


def test_ragged_groups_of_a_small_class_share_it_evenly():
    found, labels = members(groups(image_set([9, 5, 2]), 4, 2, ragged=True))
    sizes = dict(zip(zip(labels, [0, 0, 0, 1, 1, 1], strict=True), found, strict=True))
    assert {key: len(rows) for key, rows in sizes.items()} == {
        (0, 0): 4,
        (0, 1): 4,
        (1, 0): 3,
        (1, 1): 2,
        (2, 0): 1,
        (2, 1): 1,
    }


def test_padding_comes_last_and_is_blank():
    images, mask, _ = one_pass(groups(image_set([5, 2], (6, 5, 3)), 4, ragged=True))
    assert images.shape == (2, 4, 6, 5, 3)
    assert mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert (images[~mask] == 0).all()


# Kinds.


def test_elements_are_as_described():
    inputs, labels = groups(IMAGES, (2, 4)).element_spec
    assert inputs["image"].shape.as_list() == [None, 4, 6, 5, 1]
    assert inputs["image"].dtype == "float32"
    assert inputs["mask"].shape.as_list() == [None, 4]
    assert inputs["mask"].dtype == "bool"
    assert labels.shape.as_list() == [None] and labels.dtype == "int32"


def test_a_model_takes_them():
    image = keras.Input((None, 6, 5, 1), name="image")
    mask = keras.Input((None,), name="mask", dtype="bool")
    held = keras.ops.cast(mask, "float32")[..., None]
    shown = keras.ops.mean(image, axis=(2, 3)) * held
    model = keras.Model({"image": image, "mask": mask}, keras.ops.sum(shown, axis=1))
    dataset = groups(IMAGES, 3, batch_size=3)
    expected = [[sum(rows)] for rows in members(groups(IMAGES, 3))[0]]
    np.testing.assert_allclose(model.predict(dataset, verbose=0), expected)


def test_files_are_read_as_they_are_needed(tmp_path):
    rows = range(6)
    for row in rows:
        blank = np.full((6, 5, 1), 10 * row, np.uint8)
        keras.utils.save_img(tmp_path / f"{row}.png", blank, scale=False)
    files = [str(tmp_path / f"{row}.png") for row in rows]
    images = ImageSet(files, [0, 0, 0, 1, 1, 1], image_shape=(6, 5, 1))
    found, labels = members(groups(images, 3))
    assert [sorted(rows) for rows in found] == [[0, 10, 20], [30, 40, 50]]


# Degraded.


def pixels(views, rows, of):
    places = tf.data.Dataset.from_tensors((rows, of))
    return places.map(views.of(IMAGES)).get_single_element().numpy()


def test_fixed_views_degrade_members_by_views_that_are_known():
    views = FixedViews(SPOIL, count=4, seed=2)
    dataset = groups(IMAGES, 3, 2, views, batch_size=3, seed=5)
    for number in range(2):
        plan = group_rows(IMAGES, 3, 2, views=4, seed=5, number=number)
        images, _, labels = one_pass(dataset)
        np.testing.assert_array_equal(labels, plan.labels)
        expected = pixels(views, plan.rows.ravel(), plan.views.ravel())
        np.testing.assert_array_equal(images, expected.reshape(images.shape))
        assert set(plan.views.ravel()) == {0, 1, 2, 3}


def test_padding_stays_blank_when_members_are_spoilt():
    images, mask, _ = one_pass(groups(IMAGES, (1, 6), degrade=SPOIL))
    assert (images[~mask] == 0).all() and images[mask].any((1, 2, 3)).all()


def test_a_layer_degrades_anew_in_every_pass_and_alike_with_the_seed():
    # Whole classes: each pass shows the same images.
    images = image_set([3, 3])
    dataset, again = (groups(images, 3, degrade=SPOIL, seed=1) for _ in range(2))
    passes = [one_pass(dataset)[0] for _ in range(3)]
    shown = np.concatenate(passes).reshape(18, -1)
    assert len({image.tobytes() for image in shown}) == 18
    for expected in passes:
        np.testing.assert_array_equal(one_pass(again)[0], expected)


def test_layers_of_a_list_are_applied_one_after_another():
    both = [SPOIL, RandomAffine()]
    images, mask, _ = one_pass(groups(IMAGES, 3, degrade=both))
    plain, _, _ = one_pass(groups(IMAGES, 3))
    assert (images != plain).any((2, 3, 4)).all() and mask.all()


# What is refused.


@pytest.mark.parametrize(
    "options, message",
    [
        ({"size": 0}, r"`size` must be a positive integer, or \(least.*size=0"),
        ({"size": (3, 2)}, r"`size` must be.*size=\(3, 2\)"),
        ({"size": (0, 2)}, r"`size` must be.*size=\(0, 2\)"),
        ({"size": 2.0}, r"`size` must be.*size=2\.0"),
        ({"size": True}, "`size` must be.*size=True"),
        ({"size": (1, 2, 3)}, r"`size` must be.*size=\(1, 2, 3\)"),
        ({"groups_per_class": 0}, "`groups_per_class` must be a pos.*_class=0"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer.*batch_size=0"),
        ({"first_pass": -1}, "`first_pass` must be an integer and not.*first_pass=-1"),
        (
            {"size": 6, "groups_per_class": 2},
            r"share no image: class 'class 0' of 'set' has 10 of the 12 images.*size=6,"
            " groups_per_class=2, ragged=False",
        ),
        (
            {"size": (4, 9), "groups_per_class": 3},
            r"class 'class 0' of 'set' has 10 of the 12.*size=\(4, 9\)",
        ),
        (
            {"groups_per_class": 11, "ragged": True},
            "class 'class 0' of 'set' has 10 of the 11 images.*ragged=True",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        groups(IMAGES, **{"size": 3, **options})


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="Groups need images.*Received: images="):
        groups(IMAGES.subset(np.zeros(43, bool)), 3)


@pytest.mark.parametrize(
    "degrade", [keras.layers.RandomFlip(), lambda images: images, "blur", 3]
)
def test_other_degradations_are_refused(degrade):
    with pytest.raises(TypeError, match="`degrade` must be FixedViews.*Rec.*degrade="):
        groups(IMAGES, 3, degrade=degrade)


def test_arrays_are_refused():
    with pytest.raises(TypeError, match="must be an ImageSet. Received: images="):
        groups(IMAGES.arrays(), 3)
    with pytest.raises(TypeError, match="must be an ImageSet. Received: images="):
        group_rows(IMAGES.arrays(), 3)
