import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.layers import RandomAffine

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (4, 9, 12, 2))
DRAWS = rng.uniform(-1, 1, (4, 5))


def by_hand(image, draws, fill_mode, fill_value, shift, rotation, scale, shear):
    """The description of the class in float64, pixel by pixel."""
    height, width, _ = image.shape
    moved = np.array([draws[0] * shift * width, draws[1] * shift * height])
    turn = np.radians(draws[2] * rotation)
    rotate = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    lean = [[1, np.tan(np.radians(draws[4] * shear))], [0, 1]]
    forward = np.array(rotate) @ lean * (1 + scale) ** draws[3]
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    result = np.zeros_like(image)
    for row in range(height):
        for column in range(width):
            to = np.array([column, row]) - middle
            x, y = np.linalg.solve(forward, to - moved) + middle
            if fill_mode == "nearest":
                x, y = np.clip([x, y], 0, [width - 1, height - 1])
            for j, i in np.ndindex(2, 2):
                xi, yi = int(np.floor(x)) + i, int(np.floor(y)) + j
                part = (1 - abs(x - xi)) * (1 - abs(y - yi))
                inside = 0 <= xi < width and 0 <= yi < height
                value = image[yi, xi] if inside else fill_value
                result[row, column] += part * value if part > 0 else 0
    return result


@pytest.mark.parametrize("fill_mode", ["nearest", "constant"])
def test_is_the_map_of_its_description(fill_mode):
    ranges = {"shift": 0.2, "rotation": 40.0, "scale": 0.5, "shear": 20.0}
    layer = RandomAffine(**ranges, fill_mode=fill_mode, fill_value=37.0)
    got = layer(IMAGES, training=True, draws=DRAWS)
    expected = [
        by_hand(image, draws, fill_mode, 37.0, **ranges)
        for image, draws in zip(IMAGES, DRAWS, strict=True)
    ]
    np.testing.assert_allclose(got, expected, atol=0.05)


def test_what_comes_from_outside_may_be_mirrored():
    layer = RandomAffine(0.5, 0, 0, 0, fill_mode="reflect")
    # A quarter of 12 columns to the right, a third of 9 rows up: whole pixels.
    draws = np.array([[0.5, -2 / 3, 0, 0, 0]], np.float32)
    got = layer(IMAGES[:1], training=True, draws=draws)
    rows = [3, 4, 5, 6, 7, 8, 8, 7, 6]
    columns = [2, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    np.testing.assert_allclose(got[0], IMAGES[0][rows][:, columns], atol=0.01)


@pytest.mark.parametrize(
    "ranges, draws, start, end",
    [
        # Places are (x, y) from the centre, y downwards.
        ({"shift": 0.2}, [1.0, 0, 0, 0, 0], (0, 0), (1, 0)),
        ({"shift": 0.2}, [0, -2.0, 0, 0, 0], (1, 1), (1, -1)),
        ({"rotation": 90}, [0, 0, 1.0, 0, 0], (2, 0), (0, 2)),
        ({"rotation": 90}, [0, 0, -1.0, 0, 0], (2, 1), (1, -2)),
        ({"scale": 1.0}, [0, 0, 0, 1.0, 0], (1, -1), (2, -2)),
        ({"scale": 1.0}, [0, 0, 0, -1.0, 0], (2, -2), (1, -1)),
        ({"shear": 45}, [0, 0, 0, 0, 1.0], (0, 2), (2, 2)),
        ({"shear": 45}, [0, 0, 0, 0, 1.0], (0, -2), (-2, -2)),
        # Turned first, shifted last.
        ({"shift": 0.2, "rotation": 90}, [1.0, 0, 1.0, 0, 0], (1, 0), (1, 1)),
    ],
)
def test_a_point_goes_where_it_should(ranges, draws, start, end):
    none = {"shift": 0, "rotation": 0, "scale": 0, "shear": 0}
    image = np.zeros((1, 5, 5, 1), np.float32)
    image[0, 2 + start[1], 2 + start[0]] = 1
    layer = RandomAffine(**{**none, **ranges}, fill_mode="constant")
    moved = layer(image, training=True, draws=np.array([draws], np.float32))
    assert moved[0, 2 + end[1], 2 + end[0], 0] > 0.99


def test_growing_by_two_shows_the_middle_half():
    x = np.linspace(-1, 1, 9, dtype=np.float32)
    ramp = np.broadcast_to(x, (1, 9, 9))[..., None]
    layer = RandomAffine(0, 0, scale=1.0)
    grown, shrunk = (
        layer(ramp, training=True, draws=np.array([[0, 0, 0, d, 0]], np.float32))
        for d in (1, -1)
    )
    np.testing.assert_allclose(grown[0, 4, :, 0], x / 2, atol=1e-4)
    np.testing.assert_allclose(shrunk[0, 4, :, 0], np.clip(2 * x, -1, 1), atol=1e-4)


def test_without_training_nothing_happens():
    for training in (False, None):
        got = RandomAffine()(IMAGES, training=training)
        np.testing.assert_array_equal(got, IMAGES.astype(np.float32))


def test_ranges_of_zero_are_the_identity():
    got = RandomAffine(0, 0, 0, 0)(IMAGES, training=True)
    np.testing.assert_allclose(got, IMAGES, rtol=1e-5)


def test_each_image_has_a_map_of_its_own_and_each_call_others():
    same = np.broadcast_to(IMAGES[:1], (16, 9, 12, 2))
    layer = RandomAffine(seed=3)
    first, second = np.array(layer(same, training=True)), layer(same, training=True)
    images = [*first, *np.array(second)]
    assert len({image.tobytes() for image in images}) == 32
    again = RandomAffine(seed=3)(same, training=True)
    np.testing.assert_array_equal(first, again)


def test_the_ranges_are_reached_and_kept():
    dot = np.zeros((400, 21, 21, 1), np.float32)
    dot[:, 10, 10] = 1
    moved = np.array(RandomAffine(0.3, 0, 0, seed=0)(dot, training=True))[..., 0]
    total = moved.sum((1, 2))
    places = [(moved.sum(axis) @ np.arange(21)) / total - 10 for axis in (1, 2)]
    for place in places:
        assert 5.8 < np.abs(place).max() <= 6.3 and abs(place.mean()) < 0.5


def test_channels_move_together():
    grey = np.repeat(IMAGES[..., :1], 3, axis=-1)
    moved = np.array(RandomAffine(seed=0)(grey, training=True))
    np.testing.assert_array_equal(moved[..., 0], moved[..., 2])


def test_integers_and_mixed_precision():
    whole = IMAGES.astype(np.uint8)
    expected = RandomAffine()(
        whole.astype(np.float32), training=True, draws=DRAWS.astype(np.float32)
    )
    got = RandomAffine()(whole, training=True, draws=DRAWS)
    np.testing.assert_allclose(got, expected)
    half = RandomAffine(dtype="mixed_float16")(whole, training=True, draws=DRAWS)
    assert half.dtype == tf.float16
    np.testing.assert_allclose(half, expected, atol=0.1)
    half = RandomAffine(dtype="mixed_bfloat16")(whole, training=False)
    assert half.dtype == tf.bfloat16


def test_draws_keep_their_precision_under_mixed_precision():
    wide = rng.integers(0, 256, (4, 64, 64, 1)).astype(np.uint8)
    draws = rng.uniform(-1, 1, (4, 5)).astype(np.float32)
    exact, coarse = (
        RandomAffine(shift=0.5, dtype=dtype)(wide, training=True, draws=draws)
        for dtype in ("float32", "mixed_bfloat16")
    )
    # bfloat16 keeps 8 bits: values up to 256 are rounded by half a unit at most.
    np.testing.assert_allclose(tf.cast(coarse, tf.float32), exact, atol=0.51)


def test_works_in_tf_data_with_unknown_batch_size():
    layer = RandomAffine(seed=0)
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES.astype(np.float32)).batch(3)
    batches = list(dataset.map(lambda x: layer(x, training=True)))
    assert [batch.shape for batch in batches] == [(3, 9, 12, 2), (1, 9, 12, 2)]
    assert np.abs(batches[0] - IMAGES[:3]).max() > 1


def test_works_in_a_model_of_unknown_image_size_and_is_saved(tmp_path):
    inputs = keras.Input((None, None, 2))
    model = keras.Model(inputs, RandomAffine(rotation=30, seed=1)(inputs))
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), IMAGES, rtol=1e-6)
    moved = model(IMAGES, training=True)
    assert moved.shape == IMAGES.shape and np.abs(moved - IMAGES).max() > 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


def test_trains_inside_a_model():
    model = keras.Sequential(
        [RandomAffine(seed=0), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    history = model.fit(IMAGES / 255, np.ones((4, 1)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"shift": -0.1}, "`shift` must be finite and not negative.*shift=-0.1"),
        ({"rotation": float("nan")}, "`rotation`.*rotation=nan"),
        ({"scale": float("inf")}, "`scale`.*scale=inf"),
        ({"shear": 90}, "below 90 degrees.*shear=90"),
        ({"fill_mode": "white"}, "one of nearest, constant.*fill_mode='white'"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomAffine(**arguments)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match=r"\(batch, height.*images.shape=\(9, 12, 2\)"):
        RandomAffine()(IMAGES[0], training=True)
