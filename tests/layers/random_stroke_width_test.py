import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.layers import RandomStrokeWidth

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (3, 9, 12, 2))
CROSS = [(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)]
SQUARE = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]


def strokes(*columns, size=15):
    """Dark vertical bars on white."""
    image = np.full((1, size, size, 1), 255.0)
    image[:, 2:-2, list(columns)] = 0
    return image


def drawn(image, number, **options):
    options = {"thicker": 2.0, "thinner": 2.0, **options}
    numbers = np.full((len(image), 1), number)
    return np.array(RandomStrokeWidth(**options)(image, training=True, draws=numbers))


def widths(image):
    """Ink of the middle row, in pixels."""
    return (255 - image[0, image.shape[1] // 2, :, 0]).sum() / 255


@pytest.mark.parametrize("number, width", [(0, 3), (0.25, 4), (0.5, 5), (1, 7)])
def test_grows_by_two_pixels_a_step(number, width):
    assert widths(drawn(strokes(6, 7, 8), number)) == pytest.approx(width)


@pytest.mark.parametrize("number, width", [(-0.25, 4), (-0.5, 3), (-1, 1)])
def test_shrinks_by_two_pixels_a_step(number, width):
    image = strokes(5, 6, 7, 8, 9)
    assert widths(drawn(image, number)) == pytest.approx(width)


@pytest.mark.parametrize("columns", [(7,), (6, 7)])
def test_a_thin_stroke_stays_as_it_is(columns):
    image = strokes(*columns)
    np.testing.assert_array_equal(drawn(image, -1), image)


def test_nothing_vanishes_and_nothing_falls_apart():
    """A thick and a thin part that touch: the thin part stays, and stays joined."""
    image = strokes(2, 3, 4, 5, 6)
    image[:, 7, 7:12] = 0
    thin = drawn(image, -1)[0, ..., 0]
    assert thin[7, 4] == 0 and (thin[7, 8:12] == 0).all()
    assert thin[4, 2] == 255 == thin[4, 6]


def neighbourhood(image, offsets, best):
    """`best` of each pixel's neighbours, where they are inside of the image."""
    height, width = image.shape
    result = np.empty_like(image)
    for y, x in np.ndindex(height, width):
        near = [(y + dy, x + dx) for dy, dx in offsets]
        result[y, x] = best(
            image[row, column]
            for row, column in near
            if 0 <= row < height and 0 <= column < width
        )
    return result


@pytest.mark.parametrize("steps, offsets", [(1, [CROSS]), (2, [CROSS, SQUARE])])
def test_grey_strokes_grow_by_dilation(steps, offsets):
    expected = IMAGES[0, ..., 1]
    for some in offsets:
        expected = neighbourhood(expected, some, min)  # ink is dark
    got = drawn(IMAGES, steps / 2)[0, ..., 1]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_grey_strokes_shrink_by_erosion_but_for_what_opening_would_lose():
    ink = 255 - IMAGES[1, ..., 0]
    eroded = neighbourhood(ink, CROSS, min)
    lost = ink - neighbourhood(eroded, CROSS, max)
    expected = 255 - np.maximum(eroded, lost + ink.min())
    got = drawn(IMAGES, -0.5)[1, ..., 0]
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_light_ink_is_dark_ink_turned_round():
    dark = drawn(IMAGES, 0.7)
    light = drawn(255 - IMAGES, 0.7, ink="light")
    np.testing.assert_allclose(255 - light, dark, atol=1e-3)


def test_without_training_nothing_happens():
    for training in (False, None):
        got = RandomStrokeWidth()(IMAGES, training=training)
        np.testing.assert_array_equal(got, IMAGES.astype(np.float32))


def test_each_image_has_a_pen_of_its_own_and_each_call_others():
    same = np.broadcast_to(IMAGES[:1], (8, 9, 12, 2))
    layer = RandomStrokeWidth(seed=3)
    first, second = np.array(layer(same, training=True)), layer(same, training=True)
    assert len({image.tobytes() for image in [*first, *np.array(second)]}) == 16
    again = RandomStrokeWidth(seed=3)(same, training=True)
    np.testing.assert_array_equal(first, again)


def test_no_steps_are_the_identity():
    got = RandomStrokeWidth(0, 0)(IMAGES, training=True)
    np.testing.assert_allclose(got, IMAGES, rtol=1e-6)


def test_integers_and_mixed_precision():
    whole = IMAGES.astype(np.uint8)
    np.testing.assert_allclose(drawn(whole, 0.7), drawn(whole.astype("float32"), 0.7))
    half = RandomStrokeWidth(dtype="mixed_float16")(whole, training=True)
    assert half.dtype == tf.float16


def test_works_in_tf_data_with_unknown_batch_size():
    layer = RandomStrokeWidth(seed=0)
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES.astype(np.float32)).batch(2)
    batches = list(dataset.map(lambda x: layer(x, training=True)))
    assert [batch.shape for batch in batches] == [(2, 9, 12, 2), (1, 9, 12, 2)]
    assert np.abs(batches[0] - IMAGES[:2]).max() > 1


def test_trains_inside_a_model_of_unknown_image_size_and_is_saved(tmp_path):
    inputs = keras.Input((None, None, 2))
    hidden = RandomStrokeWidth(thinner=0.5, seed=0)(inputs)
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model.compile("sgd", "mse", jit_compile=False)
    history = model.fit(IMAGES / 255, np.ones((3, 1)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"thicker": -1}, "`thicker` must be finite and not negative.*thicker=-1"),
        ({"thinner": float("nan")}, "`thinner` must be finite.*thinner=nan"),
        ({"ink": "red"}, "`ink` must be one of dark, light.*ink='red'"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        RandomStrokeWidth(**arguments)


def test_refuses_a_single_image():
    with pytest.raises(ValueError, match=r"\(batch, height.*images.shape=\(9, 12, 2\)"):
        RandomStrokeWidth()(IMAGES[0], training=True)
