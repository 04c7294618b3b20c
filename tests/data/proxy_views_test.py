import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import FixedViews, ImageSet, proxy_views
from keras_distill.layers import RandomDegradation

rng = np.random.default_rng(0)
IMAGES = ImageSet(
    rng.integers(0, 256, (10, 8, 7, 1), np.uint8), [0, 2, 1, 1, 0, 2, 2, 0, 1, 0]
)
SPOIL = RandomDegradation(share=1, blur=0, crop=0, occlusion=0, darkness=0)
VIEWS = FixedViews(SPOIL, count=3)
PLAIN = FixedViews(None, count=1)


def one_pass(dataset):
    batches = list(dataset.as_numpy_iterator())
    images = np.concatenate([x["image"] for x, _ in batches])
    rows = np.concatenate([x["row"] for x, _ in batches])
    return images, rows, np.concatenate([y for _, y in batches])


def test_a_pass_holds_every_view_of_every_image_once():
    dataset = proxy_views(IMAGES, VIEWS, batch_size=7)
    for _ in range(3):
        images, rows, labels = one_pass(dataset)
        assert sorted(rows.tolist()) == list(range(30))
        np.testing.assert_array_equal(labels, IMAGES.labels[rows % 10])
        assert images.shape == (30, 8, 7, 1) and images.dtype == np.float32


def test_a_row_is_the_same_pixels_in_every_pass():
    dataset = proxy_views(IMAGES, VIEWS, batch_size=7)
    everything = tf.data.Dataset.from_tensors(
        (np.arange(30) % 10, np.arange(30) // 10)
    ).map(VIEWS.of(IMAGES))
    expected = everything.get_single_element().numpy()
    for _ in range(2):
        images, rows, _ = one_pass(dataset)
        np.testing.assert_array_equal(images, expected[rows])
    images, rows, _ = one_pass(proxy_views(IMAGES, VIEWS, batch_size=4, seed=9))
    np.testing.assert_array_equal(images, expected[rows])


def test_each_pass_is_in_another_order_and_the_seed_gives_all_of_them():
    first, again = (proxy_views(IMAGES, PLAIN, seed=3) for _ in range(2))
    orders = [one_pass(first)[1].tolist() for _ in range(4)]
    assert len(set(map(tuple, orders))) == 4
    assert [one_pass(again)[1].tolist() for _ in range(4)] == orders
    other = one_pass(proxy_views(IMAGES, PLAIN, seed=4))[1].tolist()
    assert other not in orders


def test_every_place_is_as_likely_for_every_row():
    dataset = proxy_views(IMAGES, PLAIN)
    orders = np.stack([one_pass(dataset)[1] for _ in range(25)])
    np.testing.assert_allclose(orders.mean(0), 4.5, atol=2.3)  # four standard errors
    # Passes do not repeat each other either: a tenth of the places agree.
    agree = (orders[:-1] == orders[1:]).mean()
    assert 0.03 < agree < 0.2


def test_elements_are_as_described():
    dataset = proxy_views(IMAGES, VIEWS, batch_size=8)
    inputs, labels = dataset.element_spec
    assert inputs["image"].shape.as_list() == [None, 8, 7, 1]
    assert inputs["image"].dtype == "float32"
    assert inputs["row"].shape.as_list() == [None] and inputs["row"].dtype == "int64"
    assert labels.shape.as_list() == [None] and labels.dtype == "int32"
    assert dataset.cardinality() == 4
    sizes = [len(labels) for _, labels in dataset]
    assert sizes == [8, 8, 8, 6]


def test_a_model_is_trained_on_them():
    image = keras.Input((8, 7, 1), name="image")
    row = keras.Input((), name="row", dtype="int64")
    flat = keras.layers.Flatten()(image) / 255
    logits = keras.layers.Dense(3)(flat) + 0.0 * keras.ops.cast(row, "float32")[:, None]
    model = keras.Model({"image": image, "row": row}, logits)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    data = proxy_views(IMAGES, VIEWS, batch_size=8)
    history = model.fit(data, epochs=3, verbose=0, shuffle=False)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]


def test_other_views_and_images_are_refused():
    with pytest.raises(TypeError, match="`views` must be FixedViews.*Received: views="):
        proxy_views(IMAGES, RandomDegradation())
    with pytest.raises(TypeError, match="`images` must be an ImageSet.*Rec.*images="):
        proxy_views(IMAGES.arrays(), VIEWS)


@pytest.mark.parametrize("batch_size", [0, -1, True, 2.0])
def test_a_batch_size_that_counts_nothing_is_refused(batch_size):
    with pytest.raises(ValueError, match=f"positive integer.*batch_size={batch_size}"):
        proxy_views(IMAGES, VIEWS, batch_size)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="At least one image.*Received: images="):
        proxy_views(IMAGES.subset(np.zeros(10, bool)), VIEWS)
