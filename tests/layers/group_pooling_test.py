"""The layer pools as its function does: in fit, pipelines, half precision, phones."""

import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill.device.quiet import without_chatter
from keras_distill.device.runtime import find_runtime
from keras_distill.group_pooling import pool_groups
from keras_distill.layers import GroupPooling
from keras_distill.tflite.graph import read_graph

rng = np.random.default_rng(0)
FEATURES = rng.normal(size=(6, 5, 3)).astype("float32")
SCORES = rng.uniform(size=(6, 5)).astype("float32")
# Groups of no, one, two, three and five elements, and of four with equal scores.
MASK = np.arange(5) < np.array([[0], [1], [2], [3], [5], [4]])
SCORES[5] = 0.4
FEATURES = np.where(MASK[..., None], FEATURES, np.nan)
SCORES = np.where(MASK, SCORES, np.nan)

OPTIONS = [
    {},
    {"rescale_above": 1, "threshold": 0.3},
    {"keep": 2},
    {"normalize_elements": True},
    {"normalize_output": True},
    {"rescale_above": 3, "keep": 1, "normalize_elements": True},
]


def unit(rows):
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def by_function(options):
    options = dict(options)
    features = FEATURES
    if options.pop("normalize_elements", False):
        features = unit(FEATURES)
    normalize_output = options.pop("normalize_output", False)
    pooled = np.array(pool_groups(features, SCORES, MASK, **options))
    return unit(pooled) if normalize_output else pooled


@pytest.mark.parametrize("options", OPTIONS)
def test_pools_as_the_function_does(options):
    found = GroupPooling(**options)(FEATURES, SCORES, MASK)
    np.testing.assert_allclose(found, by_function(options), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[0], 0)


def test_without_a_mask_everything_is_an_element():
    features, scores = FEATURES[4:5], SCORES[4:5]
    masked = GroupPooling()(features, scores, np.ones((1, 5), bool))
    np.testing.assert_array_equal(GroupPooling()(features, scores), masked)


def test_unit_rows_are_the_directions_and_that_of_an_empty_group_is_zero():
    rows = GroupPooling(normalize_output=True)(FEATURES, SCORES, MASK)
    lengths = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(lengths, [0, 1, 1, 1, 1, 1], atol=1e-6)


def test_the_length_of_an_element_does_not_weigh_where_elements_are_normalised():
    longer = FEATURES * rng.uniform(1, 9, (6, 5, 1)).astype("float32")
    pool = GroupPooling(normalize_elements=True)
    np.testing.assert_allclose(
        pool(longer, SCORES, MASK), pool(FEATURES, SCORES, MASK), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_finite_and_padding_has_none(options):
    features, scores = tf.Variable(FEATURES), tf.Variable(SCORES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(GroupPooling(**options)(features, scores, MASK) ** 2)
    for gradient in tape.gradient(loss, [features, scores]):
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient.numpy()[~MASK], 0)


def model_with_trainable_scores(**options):
    images = keras.Input((5, 3), name="features")
    mask = keras.Input((5,), dtype="bool", name="mask")
    shown = keras.ops.where(mask[..., None], images, 0.0)
    scores = keras.layers.Dense(1, activation="sigmoid")(shown)[..., 0]
    rows = GroupPooling(**options)(images, scores, mask)
    return keras.Model({"features": images, "mask": mask}, rows)


@pytest.mark.parametrize(
    "policy, jit_compile",
    [("float32", False), ("float32", True), ("mixed_float16", True)],
)
def test_fit_learns_scores_through_it(policy, jit_compile):
    rng = np.random.default_rng(1)
    # Bad elements say so in their third number, and are noise in the others.
    bad = rng.uniform(size=(64, 5)) < 0.5
    mask = rng.uniform(size=(64, 5)) < 0.8
    bad[:, 0], mask[:, 0] = False, True
    mask[5] = False
    noise = rng.normal(size=(64, 5, 2)) * bad[..., None]
    features = np.concatenate([[1, 2] + noise, bad[..., None]], axis=-1)
    features = np.where(mask[..., None], features, np.nan).astype("float32")
    wanted = mask.any(axis=1)[:, None] * np.float32([1, 2, 0])
    data = tf.data.Dataset.from_tensor_slices(
        ({"features": features, "mask": mask}, wanted)
    )
    keras.config.set_dtype_policy(policy)
    try:
        model = model_with_trainable_scores(rescale_above=10)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.output.dtype == "float32"
    model.compile(keras.optimizers.Adam(0.3), "mse", jit_compile=jit_compile)
    history = model.fit(data.batch(16), epochs=10, verbose=0, shuffle=False).history
    losses = history["loss"]
    assert losses[-1] < 0.5 * losses[0]


def test_half_precision_stays_outside():
    halves = FEATURES.astype("float16"), SCORES.astype("float16")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        pool = GroupPooling()
    finally:
        keras.config.set_dtype_policy("float32")
    found = pool(*halves, MASK)
    wanted = pool_groups(*(x.astype("float32") for x in halves), MASK)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, wanted)
    # Asked for, only what comes out is rounded.
    half = GroupPooling(dtype="float16")(FEATURES, SCORES, MASK)
    exact = np.array(pool_groups(FEATURES, SCORES, MASK))
    np.testing.assert_array_equal(half, exact.astype("float16"))


def test_pools_in_a_pipeline_with_groups_of_any_size():
    pool = GroupPooling(keep=2)

    def groups():
        for size in (1, 4, 0, 3):
            yield FEATURES[4, :size], SCORES[4, :size], np.ones(size, bool)

    signature = (
        tf.TensorSpec((None, 3)),
        tf.TensorSpec((None,)),
        tf.TensorSpec((None,), "bool"),
    )
    data = tf.data.Dataset.from_generator(groups, output_signature=signature)
    found = np.concatenate(list(data.padded_batch(2).map(pool)))
    alone = [pool(*(part[None] for part in group))[0] for group in groups()]
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS)
def test_converts_to_built_in_operators_that_give_the_same(options):
    pool = GroupPooling(**options)
    signature = [
        tf.TensorSpec((6, 5, 3), name="features"),
        tf.TensorSpec((6, 5), name="scores"),
        tf.TensorSpec((6, 5), "bool", name="mask"),
    ]
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "pool", lambda *inputs: {"group": pool(*inputs)}, input_signature=signature
    )
    with tempfile.TemporaryDirectory() as folder, without_chatter():
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["pool"]
        )
        model = converter.convert()
    versions = read_graph(model).newest_versions()
    assert not [name for name in versions if name.startswith(("CUSTOM", "VAR"))]
    with without_chatter():
        interpreter = find_runtime().interpreter(model_content=model)
        run = interpreter.get_signature_runner("pool")
        found = run(features=FEATURES, scores=SCORES, mask=MASK)["group"]
    np.testing.assert_allclose(found, by_function(options), rtol=1e-5, atol=1e-6)


def test_a_model_with_it_saves_and_loads(tmp_path):
    model = model_with_trainable_scores(threshold=0.5, normalize_output=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = {"features": FEATURES, "mask": MASK}
    np.testing.assert_array_equal(model(inputs), again(inputs))
    assert again.layers[-1].threshold == 0.5


def test_knows_the_shape_of_its_output():
    features, scores = keras.Input((None, 7)), keras.Input((None,))
    assert GroupPooling()(features, scores).shape == (None, 7)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"threshold": 1}, r"\[0, 1\).*threshold=1"),
        ({"rescale_above": -1}, "`rescale_above` must be.*rescale_above=-1"),
        ({"keep": 0}, "`keep` must be an integer, 1 or more.*keep=0"),
    ],
)
def test_refuses_options_when_it_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        kd.layers.GroupPooling(**options)


def test_refuses_shapes_that_do_not_agree():
    with pytest.raises(ValueError, match=r"\(G, N, D\).*scores.shape=\(6, 4\)"):
        GroupPooling()(FEATURES, SCORES[:, :4])
    with pytest.raises(ValueError, match=r"mask.shape=\(6, 4\)"):
        GroupPooling()(FEATURES, SCORES, MASK[:, :4])
