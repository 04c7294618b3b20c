"""A group of images becomes one unit vector; only its best images are embedded."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import models
from keras_distill.group_pooling import group_weights

SHAPE = (12, 12, 1)
rng = np.random.default_rng(0)
# Groups of none, one, two, four (with holes) and five images.
MASK = np.array(
    [
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 1],
        [1, 0, 1, 1, 1],
        [1, 1, 1, 1, 1],
    ],
    bool,
)
IMAGES = rng.uniform(0, 255, (5, 5, *SHAPE)).astype("float32")
# Some images are fainter than others, so that scores differ.
IMAGES *= rng.uniform(0.1, 1, (5, 5, 1, 1, 1)).astype("float32")


def small_embedder(name=None):
    return models.embedder("conv4_16", SHAPE, dim=6, name=name)


def brightness():
    """A scorer whose score is known: the mean pixel, from 0 to 1."""
    images = keras.Input(SHAPE)
    x = keras.layers.Rescaling(1 / 255)(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="bright")


def by_hand(embedder, keep=None, rescale_above=2, threshold=0.0):
    """All images embedded one by one, then weighed, then brought to length 1."""
    flat = IMAGES.reshape(-1, *SHAPE)
    features = np.array(embedder(flat), "float64").reshape(5, 5, -1)
    scores = IMAGES.mean(axis=(2, 3, 4)) / 255
    weights = group_weights(scores, MASK, rescale_above, threshold, keep)
    sums = np.einsum("gn,gnd->gd", np.array(weights, "float64"), features)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return sums / np.where(lengths > 0, lengths, 1)


def batch(images=IMAGES, mask=MASK):
    return {"image": images, "mask": mask}


@pytest.mark.parametrize("keep", [None, 1, 2, 4, 9])
@pytest.mark.parametrize("options", [(2, 0.0), (1, 0.4)])
def test_is_the_pooling_of_all_embeddings(keep, options):
    embedder = small_embedder()
    groups = models.group_embedder(embedder, brightness(), keep, *options)
    found = groups(batch())
    assert found.dtype == "float32" and groups.output_shape == (None, 6)
    np.testing.assert_allclose(found, by_hand(embedder, keep, *options), atol=1e-5)
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, [0, 1, 1, 1, 1], atol=1e-5)


@pytest.mark.parametrize("keep", [None, 2])
@pytest.mark.parametrize("padding", [255, np.nan, np.inf, -1e30])
def test_what_is_masked_never_matters(padding, keep):
    embedder, scorer = small_embedder(), models.scorer(SHAPE, 2)
    groups = models.group_embedder(embedder, scorer, keep)
    there = MASK.reshape(5, 5, 1, 1, 1)
    zeros, others = (np.where(there, IMAGES, p).astype("float32") for p in (0, padding))
    np.testing.assert_array_equal(groups(batch(others)), groups(batch(zeros)))
    # More places for images that are not there.
    wider = np.concatenate([others, np.full_like(others, padding)], axis=1)
    mask = np.concatenate([MASK, np.zeros_like(MASK)], axis=1)
    found = groups(batch(wider, mask))
    np.testing.assert_allclose(found, groups(batch(others)), atol=1e-6)


@pytest.mark.parametrize("keep", [None, 2])
def test_gradients_of_both_networks_are_finite_whatever_is_masked(keep):
    embedder, scorer = small_embedder(), models.scorer(SHAPE, 2)
    groups = models.group_embedder(embedder, scorer, keep)
    images = np.where(MASK.reshape(5, 5, 1, 1, 1), IMAGES, np.nan)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(groups(batch(images))[:, 0])
    weights = groups.trainable_variables
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert any(np.any(gradient) for gradient in gradients)


class Counting(keras.layers.Layer):
    """Passes images on and remembers how many there were."""

    def call(self, images):
        self.seen = [*getattr(self, "seen", []), images.shape[0]]
        return images


@pytest.mark.parametrize("keep, count", [(None, 25), (1, 5), (3, 15), (5, 25), (9, 25)])
def test_the_embedder_receives_only_what_is_kept(keep, count):
    counting = Counting()
    images = keras.Input(SHAPE)
    rows = keras.layers.GlobalAveragePooling2D()(counting(images))
    groups = models.group_embedder(keras.Model(images, rows), brightness(), keep)
    counting.seen = []
    groups(batch())
    assert counting.seen == [count]


def test_the_images_embedded_are_the_best_of_each_group():
    images = keras.Input(SHAPE)
    seen = []

    class Look(keras.layers.Layer):
        def call(self, images):
            if tf.executing_eagerly():
                seen.append(np.array(images))
            return keras.ops.mean(images, axis=(1, 2))

    embedder = keras.Model(images, Look()(images))
    models.group_embedder(embedder, brightness(), keep=2)(batch())
    scores = np.where(MASK, IMAGES.mean(axis=(2, 3, 4)), 0)
    wanted = -np.sort(-scores, axis=1)[:, :2]
    found = seen[-1].mean(axis=(1, 2, 3)).reshape(5, 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("keep", [None, 2])
def test_predicts_batches_of_any_number_of_groups_and_places(keep):
    embedder = small_embedder()
    groups = models.group_embedder(embedder, brightness(), keep)
    sizes = [(2, 5), (3, 1), (1, 3)]
    parts = [batch(IMAGES[-g:, :n], MASK[-g:, :n]) for g, n in sizes]
    spec = {
        "image": tf.TensorSpec((None, None, *SHAPE)),
        "mask": tf.TensorSpec((None, None), "bool"),
    }
    data = tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec)
    data = data.apply(tf.data.experimental.assert_cardinality(len(parts)))
    found = groups.predict(data, verbose=0)
    wanted = np.concatenate([groups(part) for part in parts])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    mapped = np.concatenate(list(data.map(groups)))
    np.testing.assert_allclose(mapped, wanted, atol=1e-5)


def test_compiles_with_xla_and_takes_bytes():
    embedder = small_embedder()
    groups = models.group_embedder(embedder, brightness(), keep=2)
    pixels = np.round(IMAGES).astype("uint8")
    wanted = groups(batch(pixels.astype("float32")))
    groups.compile(jit_compile=True)
    found = groups.predict(batch(pixels), verbose=0)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_runs_both_networks_in_inference_mode_and_shares_their_weights():
    embedder = small_embedder()
    scorer = models.scorer(SHAPE, width=2)
    groups = models.group_embedder(embedder, scorer)
    before = [np.array(v) for v in groups.variables]
    trained = groups(batch(), training=True)
    np.testing.assert_array_equal(trained, groups(batch()))
    for old, variable in zip(before, groups.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
    owned = {id(v) for v in embedder.variables + scorer.variables}
    assert {id(v) for v in groups.variables} == owned


@pytest.mark.parametrize("keep", [None, 2])
def test_saves_and_loads(tmp_path, keep):
    embedder = small_embedder()
    groups = models.group_embedder(embedder, models.scorer(SHAPE, 2), keep, 1, 0.3)
    groups.save(tmp_path / "groups.keras")
    again = keras.models.load_model(tmp_path / "groups.keras")
    np.testing.assert_array_equal(again(batch()), groups(batch()))


class Subclassed(keras.Model):
    """No graph, no known shape of input or output, and no argument `training`."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, images):
        return self.dense(keras.ops.reshape(images, (keras.ops.shape(images)[0], 144)))


def application():
    return keras.applications.MobileNetV3Small(
        include_top=False, weights=None, pooling="avg", input_shape=(None, None, 3)
    )


def test_any_model_of_rows_will_do():
    found = models.group_embedder(Subclassed(), brightness(), keep=2)(batch())
    assert found.shape == (5, 4)
    sequential = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    assert models.group_embedder(sequential, brightness())(batch()).shape == (5, 3)


def test_scores_may_come_with_or_without_a_column():
    bright = brightness()
    flat = keras.Model(bright.input, keras.ops.squeeze(bright.output, -1))
    embedder = network(rows)
    with_column = models.group_embedder(embedder, bright)(batch())
    without = models.group_embedder(embedder, flat)(batch())
    np.testing.assert_array_equal(without, with_column)


def test_a_model_of_any_size_takes_that_of_the_scorer():
    groups = models.group_embedder(application(), models.scorer((32, 32, 3)), keep=1)
    assert groups.input["image"].shape == (None, None, 32, 32, 3)
    images = rng.uniform(0, 255, (2, 2, 32, 32, 3))
    found = groups(batch(images, np.ones((2, 2), bool)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_networks_of_one_name_and_half_precision_do_not_disturb_it():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        embedder = small_embedder("net")
        scorer = models.scorer(SHAPE, 2, name="net")
        groups = models.group_embedder(embedder, scorer, keep=2)
    finally:
        keras.config.set_dtype_policy("float32")
    found = groups(batch())
    assert found.dtype == "float32"
    lengths = np.linalg.norm(found, axis=1)
    np.testing.assert_allclose(lengths, [0, 1, 1, 1, 1], atol=1e-5)


def network(output, shape=SHAPE):
    images = keras.Input(shape)
    return keras.Model(images, output(images), name="net")


def maps(images):
    return keras.layers.Conv2D(2, 3)(images)


def rows(images, dim=2):
    return keras.layers.Dense(dim)(keras.layers.Flatten()(images))


@pytest.mark.parametrize(
    "embedder, scorer, message",
    [
        (network(maps), brightness(), r"\(batch, dim\).*embedder='net'.*10, 10, 2\)"),
        (
            network(lambda x: [rows(x), rows(x)]),
            brightness(),
            r"`embedder` must give one row.*\[\(None, 2\), \(None, 2\)\]",
        ),
        (network(rows), network(rows), r"`scorer`.*\(batch, 1\).*\(None, 2\)"),
        (
            network(rows, (8, 8, 1)),
            brightness(),
            r"same images.*\(8, 8, 1\), scorer='bright' of input shape \(12, 12, 1\)",
        ),
        (network(lambda x: x, (5,)), brightness(), r"same images.*input shape \(5,\)"),
        (
            network(lambda x: keras.ops.mean(x, (1, 2)), (None, 12, 1)),
            network(lambda x: keras.ops.mean(x, (1, 2)), (None, 12, 1)),
            r"at least one of them says.*\(None, 12, 1\)",
        ),
    ],
)
def test_refuses_networks_that_do_not_fit(embedder, scorer, message):
    with pytest.raises(ValueError, match=message):
        models.group_embedder(embedder, scorer)


def test_refuses_what_is_no_model_and_options_out_of_range():
    with pytest.raises(TypeError, match="`embedder` must be a keras.Model.*'path'"):
        models.group_embedder("path", brightness())
    with pytest.raises(TypeError, match="`scorer` must be a keras.Model.*None"):
        models.group_embedder(network(rows), None)
    with pytest.raises(ValueError, match="`keep` must be an integer.*keep=0"):
        models.group_embedder(network(rows), brightness(), keep=0)
    with pytest.raises(ValueError, match=r"\[0, 1\).*threshold=1.0"):
        kd.models.group_embedder(network(rows), brightness(), threshold=1.0)
