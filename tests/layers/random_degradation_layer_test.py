"""`RandomDegradation` as a layer: random numbers, pipelines, models and bad input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.data import FixedViews, ImageSet
from keras_distill.layers import RandomDegradation

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (4, 9, 12, 3), np.uint8)
DRAWS = rng.uniform(-1, 1, (4, 20)).astype(np.float32)


def layer(**options):
    return RandomDegradation(**{"share": 1, "more": 1, **options})


# A fixed view is the same pixels in every batch.


def image_set(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 13, 12, channels), np.uint8)
    return ImageSet(pixels, np.arange(30) // 5)


def shown(views, images, rows, of):
    places = np.array(rows, np.int64), np.array(of, np.int64)
    batch = tf.data.Dataset.from_tensor_slices(places).batch(len(rows), True)
    return batch.map(views.of(images)).get_single_element().numpy()


def all_views(views, images):
    of, rows = np.divmod(np.arange(views.count * len(images)), len(images))
    found = shown(views, images, rows, of)
    return found.reshape(views.count, len(images), *images.image_shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_is_the_same_pixels_in_every_batch(channels):
    images = image_set(channels)
    views = FixedViews(layer(blur=0.2), count=3)
    expected = all_views(views, images)
    assert (expected[0] != expected[1]).any((1, 2, 3)).all()
    other = np.random.default_rng(1)
    # Sizes at which vectorised arithmetic leaves a rest, which it computes otherwise.
    for size in (1, 7, 17, 40):
        rows, of = other.integers(0, 30, size), other.integers(0, 3, size)
        np.testing.assert_array_equal(
            shown(views, images, rows, of), expected[of, rows]
        )


def test_a_view_is_the_same_pixels_in_every_order_and_subset():
    images = image_set(1)
    views = FixedViews(layer(blur=0.2), count=2)
    expected = all_views(views, images)
    order = np.random.default_rng(1).permutation(30)[:11]
    found = all_views(views, images.subset(order))
    np.testing.assert_array_equal(found, expected[:, order])


def test_an_image_does_not_depend_on_how_strongly_others_are_spoilt():
    spoil = layer(blur=0.2)
    alone = spoil(IMAGES[:1], training=True, draws=DRAWS[:1])
    for others in (np.full((3, 20), -1), np.full((3, 20), 0.999)):
        draws = np.concatenate([DRAWS[:1], others]).astype(np.float32)
        among = spoil(IMAGES, training=True, draws=draws)
        np.testing.assert_allclose(among[0], alone[0], atol=1e-3)


# The layer's own random numbers.


def test_each_image_is_spoilt_by_chance_and_each_call_otherwise():
    same = np.broadcast_to(IMAGES[:1], (16, 9, 12, 3))
    spoil = layer(seed=3)
    first, second = np.array(spoil(same, training=True)), spoil(same, training=True)
    images = [*first, *np.array(second)]
    assert len({image.tobytes() for image in images}) == 32
    again = layer(seed=3)(same, training=True)
    np.testing.assert_array_equal(first, again)
    other = layer(seed=4)(same, training=True)
    assert np.abs(other - first).max() > 1


def test_the_share_holds_for_its_own_numbers():
    images = np.full((1000, 4, 4, 1), 100, np.uint8)
    spoil = RandomDegradation(noise=30, blur=0, crop=0, share=0.25, seed=0)
    spoilt = np.array(spoil(images, training=True) != 100).any((1, 2, 3))
    assert abs(spoilt.mean() - 0.25) < 0.055  # four standard errors


# Kinds of numbers.


def test_integers_and_floats_are_spoilt_alike_in_any_precision():
    expected = layer()(IMAGES.astype(np.float32), training=True, draws=DRAWS)
    got = layer()(IMAGES, training=True, draws=DRAWS.astype(np.float64))
    np.testing.assert_array_equal(got, expected)
    for policy, dtype in [("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")]:
        half = layer(dtype=policy)(IMAGES, training=True, draws=DRAWS)
        assert half.dtype == dtype
        np.testing.assert_array_equal(half, tf.cast(expected, dtype))
        untouched = layer(dtype=policy)(IMAGES, training=False)
        np.testing.assert_array_equal(tf.cast(untouched, "uint8"), IMAGES)


# Pipelines and models.


def test_works_in_tf_data_with_unknown_batch_size():
    spoil = layer(seed=0)
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).batch(3)
    batches = list(dataset.map(lambda x: spoil(x, training=True)))
    assert [batch.shape for batch in batches] == [(3, 9, 12, 3), (1, 9, 12, 3)]
    assert np.abs(batches[0] - IMAGES[:3]).max() > 1


def test_unknown_image_sizes_give_the_same_as_known_ones():
    anything = tf.TensorSpec((None, None, None, 3), tf.uint8)
    spoil = layer(blur=0.2)

    @tf.function(input_signature=[anything])
    def traced(images):
        return spoil(images, training=True, draws=DRAWS)

    expected = spoil(IMAGES, training=True, draws=DRAWS)
    np.testing.assert_allclose(traced(IMAGES), expected, atol=1e-3)


def test_works_in_a_model_of_unknown_image_size_and_is_saved(tmp_path):
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, layer(seed=1)(inputs))
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), IMAGES)
    spoilt = model(IMAGES, training=True)
    assert spoilt.shape == IMAGES.shape and np.abs(spoilt - IMAGES).max() > 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


def test_trains_inside_a_model():
    model = keras.Sequential([layer(), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(IMAGES / 255, np.ones((4, 1)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


# What is refused.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"blur": -0.1}, "`blur` must be finite and not negative.*blur=-0.1"),
        ({"noise": float("nan")}, "`noise` must be finite.*noise=nan"),
        ({"shot_noise": float("inf")}, "`shot_noise` must be.*shot_noise=inf"),
        ({"occlusion": 1.1}, r"`occlusion` must lie in \[0, 1\].*occlusion=1.1"),
        ({"darkness": -0.1}, r"`darkness` must lie in \[0, 1\].*darkness=-0.1"),
        ({"share": 2}, r"`share` must lie in \[0, 1\].*share=2"),
        ({"more": float("nan")}, r"`more` must lie in \[0, 1\].*more=nan"),
        ({"crop": 1}, r"`crop` must lie in \[0, 1\).*crop=1"),
        ({"fill_value": 256}, r"`fill_value` must lie in \[0, 255\].*fill_value=256"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomDegradation(**arguments)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match=r"\(batch, height.*images.shape=\(9, 12, 3\)"):
        layer()(IMAGES[0], training=True)
