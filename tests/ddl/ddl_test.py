"""A frozen embedder and a scorer make one model, which is saved and checked as one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill.methods import ddl as functions
from tests.ddl.proxy import (
    SHAPE,
    compiled,
    dataset,
    embedder,
    patterns,
    scorer,
    values,
)

IMAGES, LABELS = patterns()


def test_the_functions_have_the_name_of_the_paper():
    assert callable(functions.discriminability)
    assert callable(functions.group_weights) and callable(functions.pool_groups)


def test_only_the_scorer_is_trainable():
    net, small = embedder(), scorer()
    ddl = kd.DDL(net, small)
    assert not net.trainable
    ours = {v.path for v in ddl.trainable_variables}
    assert ours == {v.path for v in small.trainable_variables}


def flat_scorer():
    """Its scores are `(batch,)`."""
    return scorer(
        ending=keras.Sequential([layers.Dense(1, "sigmoid"), layers.Reshape(())])
    )


@pytest.mark.parametrize("small", [scorer, flat_scorer])
def test_a_call_gives_the_scores_of_images_and_of_batches(small):
    small = small()
    ddl = compiled(score=small)
    expected = np.reshape(small(IMAGES), (-1, 1))
    data = dataset(IMAGES, LABELS, shuffle=False)
    for images in (IMAGES, {"image": IMAGES, "row": np.arange(30)}, data):
        scores = ddl.predict(images, verbose=0)
        assert scores.shape == (30, 1) and scores.dtype == "float32"
        np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_inputs_without_images_are_refused():
    with pytest.raises(ValueError, match=r"under 'image'.*keys=\['picture', 'row'\]"):
        kd.DDL(embedder(), scorer())({"picture": IMAGES, "row": np.arange(30)})


def test_half_precision_scores_are_compared_in_float32():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        ddl = compiled()
        history = ddl.fit(dataset(IMAGES, LABELS), epochs=2, verbose=0).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert ddl.scorer(IMAGES).dtype == "float16"
    assert ddl(IMAGES).dtype == "float32"
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("small", [scorer, flat_scorer])
def test_it_deploys_as_a_group_embedder_of_its_two_models(small):
    ddl = kd.DDL(embedder(), small())
    groups = {
        "image": IMAGES.reshape(5, 6, *SHAPE),
        "mask": np.arange(30).reshape(5, 6) % 5 > 0,
    }
    options = {"keep": 3, "rescale_above": 4, "threshold": 0.1}
    features = np.array(ddl.embedder(IMAGES)).reshape(5, 6, -1)
    scores = np.reshape(ddl.scorer(IMAGES), (5, 6))
    pooled = functions.pool_groups(features, scores, groups["mask"], **options)
    expected = np.array(pooled) / np.linalg.norm(pooled, axis=-1, keepdims=True)
    given = np.array(ddl.group_embedder(**options)(groups))
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(given - np.array(ddl.group_embedder()(groups))).max() > 1e-2


def test_a_loaded_one_goes_on_where_it_was(tmp_path):
    data = dataset(IMAGES, LABELS, shuffle=False)
    options = {"floor": 0.1, "leave_one_out": True, "centroids": "unit"}
    ddl = compiled(metrics=["mae"], **options)
    ddl.fit(data, epochs=2, verbose=0)
    ddl.save(tmp_path / "ddl.keras")
    loaded = keras.models.load_model(tmp_path / "ddl.keras")
    assert (loaded.floor, loaded.leave_one_out, loaded.centroids) == (0.1, True, "unit")
    assert not loaded.embedder.trainable
    for one, other in zip(values(ddl), values(loaded), strict=True):
        np.testing.assert_array_equal(one, other)
    ours, theirs = (net.fit(data, epochs=2, verbose=0).history for net in (ddl, loaded))
    assert set(ours) == {"loss", "mae", "rank_correlation"}
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
    for one, other in zip(values(ddl), values(loaded), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_what_is_saved_holds_the_embedder_once_and_no_targets(tmp_path):
    ddl = compiled(keras.optimizers.SGD())
    ddl.fit(dataset(IMAGES, LABELS), verbose=0)
    sizes = []
    for number, images in enumerate((IMAGES, np.concatenate([IMAGES] * 20))):
        ddl.take_targets(dataset(images, np.resize(LABELS, len(images))))
        path = tmp_path / f"{number}.weights.h5"
        ddl.save_weights(path)
        sizes.append(path.stat().st_size)
    assert sizes[0] == sizes[1]
    assert len({id(v) for v in ddl.variables}) == len(ddl.variables)
    parts = ddl.embedder.count_params() + ddl.scorer.count_params()
    assert ddl.count_params() == parts


@pytest.mark.parametrize("missing", ["embedder", "scorer"])
@pytest.mark.parametrize("given", [None, layers.Dense(1), "conv4"], ids=str)
def test_refuses_what_is_no_model(missing, given):
    parts = {"embedder": embedder(), "scorer": scorer(), missing: given}
    with pytest.raises(TypeError, match=f"`{missing}` must be a keras.Model.*of type"):
        kd.DDL(**parts)


@pytest.mark.parametrize("missing", ["embedder", "scorer"])
def test_refuses_a_model_without_weights(missing):
    empty = keras.Sequential([layers.Flatten(), layers.Dense(1)], name="empty")
    parts = {"embedder": embedder(), "scorer": scorer(), missing: empty}
    with pytest.raises(ValueError, match=f"must be built.*{missing}='empty'"):
        kd.DDL(**parts)


def headless():
    images = keras.Input(SHAPE)
    return images, layers.Conv2D(3, 3)(images)


def a_map():
    return keras.Model(*headless(), name="net")


def two_outputs():
    images, x = headless()
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, [x, x], name="net")


def one_value():
    images, x = headless()
    return keras.Model(images, keras.ops.mean(x, axis=(1, 2, 3)), name="net")


@pytest.mark.parametrize(
    "net, shape",
    [
        (a_map, r"\(None, 10, 10, 3\)"),
        (two_outputs, r"\[\(None, 3\), \(None, 3\)\]"),
        (one_value, r"\(None,\)"),
    ],
    ids=["map", "list", "one value"],
)
def test_refuses_an_embedder_that_gives_no_embedding(net, shape):
    message = rf"one embedding an image, \(batch, dim\).*'net'.*shape {shape}"
    with pytest.raises(ValueError, match=message):
        kd.DDL(net(), scorer())


@pytest.mark.parametrize(
    "net, shape",
    [
        (a_map, r"\(None, 10, 10, 3\)"),
        (two_outputs, r"\[\(None, 3\), \(None, 3\)\]"),
        (lambda: scorer(ending=layers.Dense(2)), r"\(None, 2\)"),
    ],
    ids=["map", "list", "two values"],
)
def test_refuses_a_scorer_that_gives_another_thing_than_a_score(net, shape):
    message = rf"one number an image, \(batch, 1\) or \(batch,\).*shape {shape}"
    with pytest.raises(ValueError, match=message):
        kd.DDL(embedder(), net())


class Unknown(keras.Model):
    """A model that does not know its shapes before it is called."""

    def __init__(self, units):
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, images):
        return self.dense(images if self.dense.units == 3 else images[:, :, 0, 0])


def test_a_model_that_does_not_know_its_shapes_is_checked_when_it_is_called():
    rows, maps = Unknown(2), Unknown(3)
    rows(IMAGES), maps(IMAGES)
    data = dataset(IMAGES, LABELS)
    with pytest.raises(ValueError, match=r"one number an image.*shape \(30, 2\)"):
        kd.DDL(embedder(), rows)(IMAGES)
    with pytest.raises(ValueError, match=r"one embedding.*\(None, 12, 12, 3\)"):
        kd.DDL(maps, scorer()).take_targets(data)
    kd.DDL(rows, scorer()).take_targets(data)


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 12, 3)], ids=str)
def test_refuses_a_scorer_of_other_images(shape):
    received = rf"\(None, 12, 12, 1\), scorer.input_shape=\(None, {str(shape)[1:-1]}\)"
    with pytest.raises(
        ValueError, match=f"must take one shape: a Resizing.*{received}"
    ):
        kd.DDL(embedder(), scorer(shape))


def test_a_scorer_may_take_images_of_any_size():
    ddl = compiled(score=scorer((None, None, 1)))
    ddl.fit(dataset(IMAGES, LABELS), verbose=0)


def test_refuses_a_scorer_that_shares_weights_with_the_embedder():
    net = embedder()
    head = layers.Dense(1, activation="sigmoid")(net.output)
    with pytest.raises(ValueError, match="must not share weights.*scorer='head'"):
        kd.DDL(net, keras.Model(net.input, head, name="head"))


@pytest.mark.parametrize(
    "option, message",
    [
        ({"floor": 0}, "`floor` must be positive.*floor=0"),
        ({"floor": float("nan")}, "`floor` must be positive.*floor=nan"),
        ({"centroids": "mean"}, "must be one of.*'raw', 'unit'.*centroids='mean'"),
    ],
    ids=str,
)
def test_refuses_options_out_of_range(option, message):
    with pytest.raises(ValueError, match=message):
        kd.DDL(embedder(), scorer(), **option)


def test_refuses_to_fit_a_scorer_that_is_frozen():
    ddl = compiled()
    ddl.scorer.trainable = False
    with pytest.raises(ValueError, match="must have trainable weights.*'scorer'"):
        ddl.fit(dataset(IMAGES, LABELS), verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize(
    "data, error, message",
    [
        (IMAGES, TypeError, "must be a tf.data.Dataset of batches.*of type ndarray"),
        (None, TypeError, "must be a tf.data.Dataset.*of type NoneType"),
        (
            tf.data.Dataset.from_tensors((IMAGES, LABELS)),
            ValueError,
            "'row'.*labels.*element_spec",
        ),
    ],
    ids=["arrays", "nothing", "without rows"],
)
def test_refuses_other_data(method, data, error, message):
    with pytest.raises(error, match=message):
        getattr(compiled(), method)(data, verbose=0)
