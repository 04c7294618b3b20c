import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.layers import RandomElastic

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (3, 9, 12, 2))


def draws(nodes, count=3):
    return rng.uniform(-1, 1, (count, 2 * nodes**2 + 1))


def spline(distance):
    """The cubic B-spline by its recursion (Cox, de Boor), not by its two pieces."""

    def basis(x, degree):
        if degree == 0:
            return 1.0 if 0 <= x < 1 else 0.0
        left = x / degree * basis(x, degree - 1)
        return left + (degree + 1 - x) / degree * basis(x - 1, degree - 1)

    return basis(distance + 2, 3)


def by_hand(image, numbers, amplitude, nodes):
    """The description of the class in float64, pixel by pixel."""
    height, width, _ = image.shape
    reach = amplitude * min(height, width) * (numbers[0] + 1) / 2
    shifts = numbers[1:].reshape(2, nodes, nodes) * reach
    result = np.zeros_like(image)
    for y, x in np.ndindex(height, width):
        place = y / (height - 1) * (nodes - 3), x / (width - 1) * (nodes - 3)
        moved = np.zeros(2)
        for i, j in np.ndindex(nodes, nodes):
            part = spline(place[0] - (i - 1)) * spline(place[1] - (j - 1))
            moved += part * shifts[:, i, j]
        from_x = np.clip(x + moved[0], 0, width - 1)
        from_y = np.clip(y + moved[1], 0, height - 1)
        for row, column in np.ndindex(height, width):
            near = max(0, 1 - abs(from_y - row)) * max(0, 1 - abs(from_x - column))
            result[y, x] += near * image[row, column]
    return result


@pytest.mark.parametrize("nodes", [4, 7])
def test_is_the_spline_of_its_description(nodes):
    numbers = draws(nodes)
    got = RandomElastic(0.3, nodes)(IMAGES, training=True, draws=numbers)
    expected = [
        by_hand(image, some, 0.3, nodes)
        for image, some in zip(IMAGES, numbers, strict=True)
    ]
    np.testing.assert_allclose(got, expected, atol=0.02)


def test_equal_shifts_of_all_nodes_shift_the_image():
    numbers = np.ones((1, 2 * 25 + 1))
    numbers[:, 26:] = 0  # only across, by 2 of 9 pixels
    got = RandomElastic(2 / 9, 5)(IMAGES[:1], training=True, draws=numbers)
    columns = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11, 11]
    np.testing.assert_allclose(got[0], IMAGES[0][:, columns], atol=0.01)


def test_no_pixel_goes_farther_than_the_amplitude():
    ramp = np.broadcast_to(np.arange(40.0), (50, 40, 40))[..., None]
    got = RandomElastic(0.1, 5, seed=0)(ramp, training=True)
    shifts = np.abs(np.array(got) - ramp)
    assert 2 < shifts.max() <= 4.001 and shifts.mean() > 0.3


def test_few_nodes_bend_and_many_tremble():
    """Neighbouring pixels go together under few nodes, apart under many."""
    ramp = np.broadcast_to(np.arange(40.0), (20, 40, 40))[..., None]

    def differences(nodes):
        layer = RandomElastic(0.1, nodes, seed=0)
        shifts = np.array(layer(ramp, training=True)) - ramp
        return np.abs(np.diff(shifts, axis=1)).mean() / np.abs(shifts).mean()

    assert differences(16) > 2 * differences(4)


def test_without_training_nothing_happens():
    for training in (False, None):
        got = RandomElastic()(IMAGES, training=training)
        np.testing.assert_array_equal(got, IMAGES.astype(np.float32))


@pytest.mark.parametrize("amplitude, strength", [(0.0, 1.0), (0.3, -1.0)])
def test_no_amplitude_and_no_strength_are_the_identity(amplitude, strength):
    numbers = draws(5)
    numbers[:, 0] = strength
    got = RandomElastic(amplitude)(IMAGES, training=True, draws=numbers)
    np.testing.assert_allclose(got, IMAGES, rtol=1e-5)


def test_each_image_has_a_field_of_its_own_and_each_call_others():
    same = np.broadcast_to(IMAGES[:1], (8, 9, 12, 2))
    layer = RandomElastic(seed=3)
    first, second = np.array(layer(same, training=True)), layer(same, training=True)
    assert len({image.tobytes() for image in [*first, *np.array(second)]}) == 16
    np.testing.assert_array_equal(first, RandomElastic(seed=3)(same, training=True))


def test_integers_and_mixed_precision():
    whole, numbers = IMAGES.astype(np.uint8), draws(5)
    expected = RandomElastic()(whole.astype(np.float32), training=True, draws=numbers)
    got = RandomElastic()(whole, training=True, draws=numbers)
    np.testing.assert_allclose(got, expected)
    half = RandomElastic(dtype="mixed_float16")(whole, training=True, draws=numbers)
    assert half.dtype == tf.float16
    np.testing.assert_allclose(half, expected, atol=0.1)


def test_works_in_tf_data_with_unknown_batch_size():
    layer = RandomElastic(0.3, seed=0)
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES.astype(np.float32)).batch(2)
    batches = list(dataset.map(lambda x: layer(x, training=True)))
    assert [batch.shape for batch in batches] == [(2, 9, 12, 2), (1, 9, 12, 2)]
    assert np.abs(batches[0] - IMAGES[:2]).max() > 1


def test_trains_inside_a_model_and_is_saved(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((9, 12, 2)),
            RandomElastic(nodes=6, seed=0),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse", jit_compile=False)
    history = model.fit(IMAGES / 255, np.ones((3, 1)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].get_config() == model.layers[0].get_config()


def test_an_empty_batch_stays_empty():
    assert RandomElastic()(IMAGES[:0], training=True).shape == (0, 9, 12, 2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"amplitude": -0.1}, "`amplitude` must be finite.*amplitude=-0.1"),
        ({"amplitude": float("nan")}, "`amplitude` must be finite.*amplitude=nan"),
        ({"nodes": 3}, "`nodes` must be an integer of at least 4.*nodes=3"),
        ({"nodes": 4.0}, "`nodes` must be an integer.*nodes=4.0"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomElastic(**arguments)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match=r"\(batch, height.*images.shape=\(9, 12, 2\)"):
        RandomElastic()(IMAGES[0], training=True)


def test_refuses_images_of_unknown_size():
    layer = tf.function(
        lambda x: RandomElastic()(x, training=True),
        input_signature=[tf.TensorSpec((None, None, None, 2))],
    )
    with pytest.raises(ValueError, match="height and width known.*None"):
        layer(IMAGES.astype(np.float32))
