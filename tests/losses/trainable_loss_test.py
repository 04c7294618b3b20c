"""Who looks after the weights of a loss."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import losses

rng = np.random.default_rng(0)
IMAGES = rng.normal(size=(48, 6)).astype("float32")
LABELS = rng.integers(0, 4, 48)
EMBEDDINGS = rng.normal(size=(8, 5)).astype("float32")

MAKE = {
    "Margin": lambda **k: losses.Margin(4, seed=3, **k),
    "ProxyNCA": lambda **k: losses.ProxyNCA(4, **k),
    "ProxyAnchor": lambda **k: losses.ProxyAnchor(4, **k),
    "ArcFace": lambda **k: losses.ArcFace(4, **k),
    "NormalizedSoftmax": lambda **k: losses.NormalizedSoftmax(4, **k),
}
make_each = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
# Weights of either shape; these tests take seconds.
make_two = pytest.mark.parametrize(
    "make", [MAKE["Margin"], MAKE["ProxyNCA"]], ids=["Margin", "ProxyNCA"]
)


def functional():
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(5)(inputs))


@keras.saving.register_keras_serializable(package="trainable_loss_test")
class Owner(keras.Model):
    """A model that looks after the weights of its loss, as a user would write it."""

    def __init__(self, loss, built=True):
        super().__init__()
        self.dense = keras.layers.Dense(5)
        self.owned = loss
        self.criterion = loss.parameters
        if built:
            loss.build(5)
        loss.track()

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {"loss": keras.saving.serialize_keras_object(self.owned)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["loss"]))


def fit(model, loss, epochs, optimizer=None):
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss=loss)
    model.fit(IMAGES, LABELS, batch_size=16, epochs=epochs, shuffle=False, verbose=0)


def weights(loss):
    return [np.array(v) for v in loss.parameters.weights]


@make_two
def test_a_plain_fit_is_refused_and_told_what_to_do(make):
    with pytest.raises(ValueError, match="neither trained nor.*Distiller.*tracked=Fal"):
        fit(functional(), make(), epochs=1)


@make_each
def test_a_tf_function_is_refused_and_an_eager_call_is_not(make):
    loss = make()
    assert np.isfinite(loss(LABELS[:8], EMBEDDINGS))
    with pytest.raises(ValueError, match="loss.track"):
        tf.function(loss)(LABELS[:8], EMBEDDINGS)
    loss.track()
    assert np.isfinite(tf.function(loss)(LABELS[:8], EMBEDDINGS))


@make_two
def test_the_documented_way_trains_the_weights(make):
    model, loss = functional(), make()
    assert not loss.tracked
    loss.build(5)
    model.criterion = loss.parameters
    loss.track(model)
    assert loss.tracked
    before = weights(loss)
    fit(model, loss, epochs=1)
    assert all(np.any(b != a) for b, a in zip(before, weights(loss), strict=True))
    slots = [v.path for v in model.optimizer.variables]
    assert any("criterion" in p or loss.parameters.name in p for p in slots)


def test_track_finds_out_that_a_model_does_not():
    loss = losses.ProxyNCA(4)
    with pytest.raises(ValueError, match="must be built.*Received: built=False"):
        loss.track(functional())
    loss.build(5)
    with pytest.raises(ValueError, match="among the variables.*Received: built=True"):
        loss.track(functional())
    sequential = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5)])
    sequential.criterion = loss.parameters
    with pytest.raises(ValueError, match="not a keras.Sequential"):
        loss.track(sequential)
    assert not loss.tracked


@make_each
def test_a_config_carries_no_weights(make):
    loss = make()
    loss.build(5)
    loss.track()
    again = type(loss).from_config(loss.get_config())
    assert not again.parameters.built and not again.tracked
    again.build(7)  # so the same arguments serve another width


@make_each
def test_build_is_idempotent_and_refuses_another_width(make):
    loss = make()
    loss.build(5)
    before = loss.parameters.weights
    loss.build(5)
    assert [id(v) for v in loss.parameters.weights] == [id(v) for v in before]
    with pytest.raises(ValueError, match="of width 5.*another.*Received: dim=6"):
        loss.build(6)
    with pytest.raises(ValueError, match="Received: dim=3"):
        loss(LABELS[:8], EMBEDDINGS[:, :3])


@make_each
@pytest.mark.parametrize("wrong", [-1, 4])
def test_a_label_that_is_no_class_is_an_error(make, wrong):
    labels = np.array([0, wrong, 1, 2])
    with pytest.raises(ValueError, match=rf"must lie in 0..3.*labels=\[{wrong}\]"):
        make()(labels, EMBEDDINGS[:4])


@make_each
def test_in_a_graph_it_is_nan_and_has_no_gradient(make):
    loss = make(reduction="none")
    loss.build(5)
    loss.track()

    @tf.function
    def step(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        weight = loss.parameters.trainable_weights[0].value
        return value, tape.gradient(value, [embeddings, weight])

    value, gradients = step(np.array([0, 9, 0, 1, 1]), tf.constant(EMBEDDINGS[:5]))
    np.testing.assert_array_equal(np.isnan(value), [0, 1, 0, 0, 0])
    assert all(np.all(np.isfinite(g)) for g in gradients)


@pytest.mark.parametrize("multiplier", [0.1, 30.0])
def test_adam_moves_the_weights_faster_by_the_multiplier(multiplier):
    steps = []
    for factor in (1.0, multiplier):
        loss = losses.ProxyNCA(4, learning_rate_multiplier=factor)
        loss.build(5)
        start = np.random.default_rng(1).normal(size=(4, 5))
        loss.parameters.weights[0].assign(start / factor)
        variables = loss.parameters.trainable_variables
        optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-12)
        with tf.GradientTape() as tape:
            value = loss(LABELS[:8], EMBEDDINGS)
        gradients = tape.gradient(value, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        steps.append(np.abs(loss.proxies - start).max())
    np.testing.assert_allclose(steps[1] / steps[0], multiplier, rtol=0.05)


def test_sgd_moves_the_weights_faster_by_its_square():
    steps = []
    for factor in (1.0, 3.0):
        loss = losses.Margin(4, triplets="all", learning_rate_multiplier=factor)
        loss.build(5)
        (variable,) = loss.parameters.trainable_variables
        with tf.GradientTape() as tape:
            value = loss(LABELS[:8], EMBEDDINGS)
        gradient = tape.gradient(value, variable.value)
        keras.optimizers.SGD(0.01).apply([gradient], [variable])
        steps.append(np.abs(loss.beta - 1.2).max())
    assert steps[0] > 0
    np.testing.assert_allclose(steps[1] / steps[0], 9.0, rtol=1e-3)


def test_the_value_does_not_depend_on_the_multiplier():
    values = []
    for factor in (1.0, 40.0):
        keras.utils.set_random_seed(0)
        loss = losses.ProxyAnchor(4, learning_rate_multiplier=factor)
        values.append(float(loss(LABELS[:8], EMBEDDINGS)))
    np.testing.assert_allclose(*values, rtol=1e-5)


@make_two
def test_an_interrupted_run_goes_on_where_it_was(make, tmp_path):
    keras.utils.set_random_seed(0)
    whole = Owner(make())
    fit(whole, whole.owned, epochs=1)
    whole.save(tmp_path / "half.keras")
    halfway = weights(whole.owned)
    fit(whole, whole.owned, epochs=1, optimizer=whole.optimizer)

    again = keras.models.load_model(tmp_path / "half.keras")
    for saved, loaded in zip(halfway, weights(again.owned), strict=True):
        np.testing.assert_array_equal(saved, loaded)
    # Keras makes a second loss out of the compile config; the model's is the one.
    fit(again, again.owned, epochs=1, optimizer=again.optimizer)
    for expected, got in zip(weights(whole.owned), weights(again.owned), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert any(
        np.any(a != b) for a, b in zip(halfway, weights(again.owned), strict=True)
    )


@make_each
def test_weights_not_built_yet_are_built_from_the_file(make, tmp_path):
    model = Owner(make())
    model.build((None, 6))
    model.save_weights(tmp_path / "model.weights.h5")
    unbuilt = Owner(make(), built=False)
    unbuilt.build((None, 6))
    unbuilt.load_weights(tmp_path / "model.weights.h5")
    for saved, loaded in zip(weights(model.owned), weights(unbuilt.owned), strict=True):
        np.testing.assert_array_equal(saved, loaded)
    unbuilt.owned.build(5)


@make_two
def test_a_functional_model_compiled_with_it_can_be_loaded(make, tmp_path):
    model, loss = functional(), make()
    loss.build(5)
    model.criterion = loss.parameters
    loss.track(model)
    fit(model, loss, epochs=1)
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():  # Keras says that it drops optimizer slots
        warnings.simplefilter("ignore")
        again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(IMAGES[:3]), model(IMAGES[:3]), rtol=1e-6)
    assert not again.loss.tracked and not again.loss.parameters.built


def test_a_half_precision_scope_does_not_round_the_weights():
    loss = losses.ProxyNCA(4)
    loss.build(5)
    loss.parameters.weights[0].assign(np.full((4, 5), 1.0001))

    class Half(keras.layers.Layer):
        def call(self, x):
            return loss.proxies * keras.ops.ones_like(loss.proxies)

    np.testing.assert_allclose(
        Half(dtype="mixed_float16")(np.zeros(1)), 1.0001, rtol=1e-6
    )


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_refuses_a_multiplier_that_is_not_positive(bad):
    with pytest.raises(ValueError, match="`learning_rate_multiplier` must be positive"):
        losses.Margin(4, learning_rate_multiplier=bad)


def test_a_constant_boundary_stays():
    model, loss = functional(), losses.Margin(4)
    loss.build(5)
    model.criterion = loss.parameters
    loss.parameters.trainable = False
    loss.track(model)
    fit(model, loss, epochs=1)
    np.testing.assert_allclose(loss.beta, 1.2, rtol=1e-6)
