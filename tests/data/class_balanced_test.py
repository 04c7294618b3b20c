import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import EpochPlan, ImageSet, class_balanced
from keras_distill.layers import RandomAffine


def arrays(sizes, shape=(4, 4, 1)):
    """Images whose pixels say their row, and labels, with so many of each class."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    pixels = np.zeros((len(labels), *shape), np.int32)
    pixels += np.arange(len(labels))[:, None, None, None]
    return pixels, labels


def epoch(dataset):
    """`(rows, labels)` of the batches of one iteration."""
    batches = list(dataset.as_numpy_iterator())
    rows = [images[:, 0, 0, 0].astype(int) for images, _ in batches]
    return np.stack(rows), np.stack([labels for _, labels in batches])


def times_seen(plan, epochs, count):
    return [np.bincount(plan.epoch(e).ravel(), minlength=count) for e in epochs]


SIZES = {
    "equal": [10] * 13,
    "unequal": [3, 4, 5, 8, 9, 30, 4, 7, 6],
    "large": [100, 150, 7, 90, 64],
    "small": [2] * 40,  # fewer than a batch takes of each
    "long tail": [70] + [1] * 100,
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@pytest.mark.filterwarnings("ignore:.*have fewer than:UserWarning")
def test_a_batch_holds_p_classes_with_k_images_each(sizes):
    dataset = class_balanced(arrays(sizes), classes=4, per_class=3)
    rows, labels = epoch(dataset)
    assert len(rows) == max(1, sum(sizes) // 12) == dataset.cardinality()
    _, truth = arrays(sizes)
    np.testing.assert_array_equal(truth[rows], labels)
    for batch_rows, batch_labels in zip(rows, labels, strict=True):
        blocks = batch_labels.reshape(4, 3)
        assert (blocks == blocks[:, :1]).all() and len(set(blocks[:, 0])) == 4
        for block, label in zip(batch_rows.reshape(4, 3), blocks[:, 0], strict=True):
            assert len(set(block)) == min(3, sizes[label])


def test_shapes_and_types_are_static():
    dataset = class_balanced(arrays([5] * 6, (4, 6, 3)), classes=3, per_class=2)
    images, labels = dataset.element_spec
    assert images.shape == (6, 4, 6, 3) and images.dtype == "float32"
    assert labels.shape == (6,) and labels.dtype == "int32"


def test_labels_and_pixels_need_not_be_those_of_an_image_set():
    pixels, labels = arrays([4, 4, 4])
    rows, got = epoch(class_balanced((pixels / 2, labels * 100 - 7), 2, 2))
    assert set(got.ravel()) <= {-7, 93, 193}
    np.testing.assert_array_equal((got.ravel() + 7) // 100, labels[2 * rows.ravel()])


def test_every_epoch_is_another_and_all_are_reproducible():
    data = arrays([6] * 8)
    one, other = (class_balanced(data, 4, 3, seed=5) for _ in range(2))
    first = [epoch(one)[0] for _ in range(4)]
    again = [epoch(other)[0] for _ in range(4)]
    np.testing.assert_array_equal(first, again)
    for a, b in itertools.combinations(first, 2):
        assert (a != b).mean() > 0.5
    third = class_balanced(data, 4, 3, seed=5, first_epoch=2)
    np.testing.assert_array_equal(epoch(third)[0], first[2])
    np.testing.assert_array_equal(epoch(third)[0], first[3])
    rows, labels = epoch(class_balanced(data, 4, 3, seed=6))
    assert (rows != first[0]).mean() > 0.5
    assert (labels != data[1][first[0]]).mean() > 0.5


def test_an_unfinished_iteration_counts_as_an_epoch():
    data = arrays([6] * 8)
    dataset = class_balanced(data, 4, 3)
    next(iter(dataset))
    expected = epoch(class_balanced(data, 4, 3, first_epoch=1))
    np.testing.assert_array_equal(epoch(dataset)[0], expected[0])


# What an epoch covers: the promises of the docstring, one by one.


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_visits_to_two_classes_differ_by_at_most_one(sizes):
    _, labels = arrays(sizes)
    plan = EpochPlan(labels, 4, 3)
    for number in range(5):
        visits = np.bincount(labels[plan.epoch(number)[:, ::3]].ravel()).tolist()
        visits += [0] * (len(sizes) - len(visits))
        assert max(visits) - min(visits) <= 1


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_visited_class_shows_as_many_different_images_as_it_can(sizes):
    _, labels = arrays(sizes)
    plan = EpochPlan(labels, 4, 3)
    for seen in times_seen(plan, range(6), len(labels)):
        for label, size in enumerate(sizes):
            times = seen[labels == label]
            assert (times > 0).sum() == min(size, times.sum())
            assert times.max() - times.min() <= 1


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_image_is_shown_within_the_promised_number_of_epochs(sizes):
    _, labels = arrays(sizes)
    plan = EpochPlan(labels, 4, 3, seed=3)
    visits = plan.steps * 4 / len(sizes)
    for label, size in enumerate(sizes):
        epochs = int(np.ceil(size / (max(1, int(visits)) * 3)))
        epochs *= int(np.ceil(1 / visits))
        mine = labels == label
        for start in (0, epochs, 7 * epochs):
            seen = sum(times_seen(plan, range(start, start + epochs), len(labels)))
            assert seen[mine].min() >= 1, f"class {label} from epoch {start}"


def test_an_epoch_covers_nearly_all_of_classes_of_one_size():
    labels = np.repeat(np.arange(119), 20)  # Omniglot without Greek and Tagalog
    for seen in times_seen(EpochPlan(labels, 28, 4), range(3), len(labels)):
        assert (seen > 0).mean() > 0.95 and seen.max() <= 2


def test_no_class_waits_for_long_when_an_epoch_cannot_visit_all():
    labels = np.repeat(np.arange(100), 3)
    plan = EpochPlan(labels, 5, 12)  # 5 batches of 5 classes: a quarter of them
    seen = sum(times_seen(plan, range(4), len(labels)))
    assert plan.steps == 5 and plan.few == 100 and seen.min() >= 1
    for rows in plan.epoch(0):
        assert np.bincount(rows)[rows].tolist() == [4] * 60  # 12 of 3: four each


def test_a_class_that_comes_twice_before_all_have_come_goes_on():
    sizes = SIZES["long tail"]
    _, labels = arrays(sizes)
    plan = EpochPlan(labels, 4, 3)
    assert plan.steps * 4 == 56  # of 101 classes: two epochs visit 11 of them twice
    twice = 0
    for start in range(0, 40, 2):
        seen = sum(times_seen(plan, (start, start + 1), len(labels)))[labels == 0]
        assert seen.max() == 1
        twice += seen.sum() == 6
    assert twice > 0


def test_neighbours_in_a_batch_change_from_round_to_round():
    labels = np.repeat(np.arange(20), 40)
    batches = EpochPlan(labels, 5, 4).epoch(0)
    together = {frozenset(labels[batch]) for batch in batches}
    assert len(together) > 0.9 * len(batches)


def test_all_images_are_equally_likely_in_the_long_run():
    _, labels = arrays([10] * 13)
    seen = sum(times_seen(EpochPlan(labels, 4, 3), range(300), len(labels)))
    expected = seen.mean()
    assert abs(seen - expected).max() < 0.1 * expected


def test_classes_with_too_few_images_are_counted_once():
    with pytest.warns(UserWarning, match="2 of 5 classes of .* fewer than 3") as caught:
        dataset = class_balanced(arrays([2, 5, 5, 1, 5]), 4, 3)
        epoch(dataset), epoch(dataset)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"classes": 7}, "more classes than there are.*classes=7, data with 6"),
        ({"classes": 1}, "`classes` must be at least 2.*classes=1"),
        ({"per_class": 1}, "`per_class` must be at least 2.*per_class=1"),
        ({"first_epoch": -1}, "must not be negative.*first_epoch=-1"),
        ({"images": (np.zeros((3, 4)), np.zeros(3))}, r"images.shape=\(3, 4\)"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    arguments = {"images": arrays([4] * 6), "classes": 3, "per_class": 2, **arguments}
    with pytest.raises(ValueError, match=message):
        class_balanced(**arguments)


# Augmentation.


def test_images_are_floats_up_to_255_and_augmented_in_the_pipeline():
    data = arrays([4] * 6, shape=(8, 8, 1))
    data[0][:, 2:5, 2:5] = 255
    (plain, labels), *_ = class_balanced(data, 3, 2).as_numpy_iterator()
    (moved, same), *_ = class_balanced(data, 3, 2, RandomAffine()).as_numpy_iterator()
    assert plain.dtype == moved.dtype == np.float32
    assert plain.max() == 255 and plain.min() >= 0
    np.testing.assert_array_equal(labels, same)
    assert all(np.abs(a - b).max() > 1 for a, b in zip(plain, moved, strict=True))


def test_augmentation_depends_on_the_seed_alone():
    data = arrays([4] * 6, shape=(8, 8, 1))
    data[0][:, 2:5, 2:5] = 255

    def batches(epochs, **options):
        # A layer of another seed each time: its own numbers are not asked for.
        augment = RandomAffine(seed=len(options) + epochs)
        dataset = class_balanced(data, 3, 2, augment, **options)
        return [[x for x, _ in dataset.as_numpy_iterator()] for _ in range(epochs)]

    first, second, third = batches(3)
    np.testing.assert_array_equal(first, batches(1)[0])
    np.testing.assert_array_equal(third, batches(1, first_epoch=2)[0])
    assert np.abs(np.subtract(first, batches(1, seed=1)[0])).max() > 1
    images = np.concatenate([*first, *second, *third])
    assert len({image.tobytes() for image in images}) == len(images)


def test_any_layer_function_or_list_of_them_augments_in_order():
    data = arrays([4] * 6, shape=(8, 8, 1))

    def batches(augment):
        return [x for x, _ in class_balanced(data, 3, 2, augment).as_numpy_iterator()]

    plain = batches(None)
    twice = batches([lambda x: x + 1, keras.layers.Rescaling(2)])
    np.testing.assert_allclose(twice, 2 * (np.array(plain) + 1))

    def noisy():
        return batches([keras.layers.GaussianNoise(1.0, seed=1), lambda x: x])

    np.testing.assert_array_equal(noisy(), noisy())  # applied: training is true
    assert np.abs(np.subtract(noisy(), plain)).max() > 0.5


def dots():
    """Images that are all the same: where the dot is, augmentation put it."""
    pixels, labels = np.zeros((48, 15, 15, 1), np.uint8), np.arange(48) // 8
    pixels[:, 7, 7] = 200
    return pixels, labels


SHIFT = RandomAffine(shift=0.3, rotation=0, scale=0)


def test_augmentation_of_the_same_images_differs_by_seed_epoch_batch_and_image():
    seen = []
    for options in ({"seed": 0}, {"seed": 1}, {"seed": 0, "first_epoch": 1}):
        dataset = class_balanced(dots(), 4, 3, SHIFT, **options)
        seen += [image.tobytes() for x, _ in dataset.as_numpy_iterator() for image in x]
    assert len(set(seen)) == len(seen) == 3 * 48


def test_augmentation_goes_both_ways():
    dataset = class_balanced(dots(), 4, 3, SHIFT)
    moved = np.concatenate([x[..., 0] for x, _ in dataset.as_numpy_iterator()])
    places = np.stack([moved.sum(axis) @ np.arange(15) / 200 - 7 for axis in (1, 2)])
    assert places.min() < -3 and places.max() > 3 and abs(places.mean()) < 1


def test_a_layer_that_is_there_twice_draws_anew():
    def turned(images):
        return images[:, ::-1, ::-1]

    # The same shift twice, turned half round in between, would undo itself.
    augment = [SHIFT, turned, SHIFT]
    (moved, _), *_ = class_balanced(dots(), 4, 3, augment).as_numpy_iterator()
    total = moved.sum((1, 2, 3))
    places = [moved[..., 0].sum(axis) @ np.arange(15) / total - 7 for axis in (1, 2)]
    assert np.abs(places).max(axis=0).min() > 0.5


def test_a_strategy_gets_the_same_batches_and_shards_nothing():
    dataset = class_balanced(arrays([6] * 8), 4, 3)
    policy = dataset.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.OFF
    shared = tf.distribute.MirroredStrategy(["CPU:0"]).experimental_distribute_dataset(
        dataset
    )
    expected, _ = epoch(class_balanced(arrays([6] * 8), 4, 3))
    got = [images.numpy()[:, 0, 0, 0].astype(int) for images, _ in shared]
    np.testing.assert_array_equal(got, expected)


def test_fit_takes_the_batches_for_as_many_epochs_as_it_likes():
    keras.utils.set_random_seed(0)
    sizes = [6] * 5
    _, labels = arrays(sizes)
    pixels = np.zeros((30, 4, 4, 1), np.uint8)
    pixels.reshape(30, 16)[np.arange(30), labels] = 255
    images = ImageSet(pixels, labels)
    batches = class_balanced(images, 5, 3, augment=lambda x: x / 255)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(5)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.1), loss)
    losses = model.fit(batches, epochs=12, shuffle=False, verbose=0).history["loss"]
    assert len(losses) == 12 and losses[-1] < 0.5 * losses[0]
