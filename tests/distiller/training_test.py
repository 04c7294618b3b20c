"""Losses with weights, schedules, precision, compilation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods
from tests.distiller.nets import (
    DATA,
    IMAGES,
    LABELS,
    compiled,
    student,
    teacher,
    values,
)


class Started(keras.callbacks.Callback):
    """Counts how often training began."""

    count = 0

    def on_train_begin(self, logs=None):
        Started.count += 1


class Scheduled(methods.RelationalKL):
    def schedules(self):
        return [Started()]


@pytest.mark.parametrize("kind", ["none", "list", "CallbackList", "own"])
def test_fit_brings_the_callbacks_of_its_methods_unless_they_are_given(kind):
    distiller = compiled(with_methods=[Scheduled()], teacher=teacher())
    given = {
        "none": None,
        "list": [keras.callbacks.History()],
        "CallbackList": keras.callbacks.CallbackList(
            [], add_history=True, model=distiller
        ),
        "own": [Started()],
    }[kind]
    Started.count = 0
    distiller.fit(DATA, None, None, 1, 0, given)
    assert Started.count == 1


def test_the_weights_of_a_loss_train_and_are_spared_weight_decay():
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=10.0)
    distiller = compiled(loss=kd.losses.Margin(4), optimizer=optimizer)
    beta = next(v for v in distiller.trainable_variables if "margin" in v.path)
    distiller.fit(DATA.repeat(3), verbose=0)
    moved = np.abs(np.array(beta) - 1.2)
    # Decay alone would take 10 % of 1.2 at each step.
    assert 1e-3 < moved.max() < 0.05


def test_coefficients_can_be_scheduled_and_are_saved(tmp_path):
    method = methods.RelationalKL(weight=1.0)
    ramp = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: method.weight.assign(epoch)
    )
    distiller = compiled(with_methods=[method], teacher=teacher(), loss=None)
    history = distiller.fit(DATA, epochs=3, callbacks=[ramp], verbose=0).history
    ratio = np.array(history["loss"]) / history["relational_kl_divergence"]
    np.testing.assert_allclose(ratio, [0, 1, 2], rtol=1e-4)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert float(loaded.methods[0].weight) == 2.0
    assert loaded.methods[0].get_config()["weight"] == 1.0


@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}],
    ids=lambda o: next(iter(o)),
)
def test_every_way_to_run_a_step_gives_the_same_update(options):
    nets = [student(), student()]
    nets[1].set_weights(nets[0].get_weights())
    terms = [[kd.S2SD((4,), pooling="avg", feature_delay=1)] for _ in nets]
    plain = compiled(nets[0], terms[0])
    other = compiled(nets[1], terms[1], **options)
    terms[1][0].branches[0].set_weights(terms[0][0].branches[0].get_weights())
    data = DATA.repeat(6)
    a = plain.fit(data, verbose=0).history["loss"]
    b = other.fit(data, verbose=0).history["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-3)
    for one, two in zip(values(nets[0]), values(nets[1]), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-4)


def test_a_float32_teacher_teaches_a_mixed_precision_student():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = student()
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = compiled(net, [methods.RelationalKL()], teacher=teacher())
    history = distiller.fit(DATA.repeat(3), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_exclusions_from_weight_decay_add_up():
    net = student()
    optimizer = keras.optimizers.AdamW(0.1)
    optimizer.exclude_from_weight_decay(var_list=[net.get_layer("hidden").bias])
    distiller = compiled(net, [kd.S2SD((4,), pooling="avg")], optimizer=optimizer)
    (branch,) = distiller.methods[0].branches
    spared = [net.get_layer("hidden").bias, *branch.trainable_variables]
    assert not any(optimizer._use_weight_decay(v) for v in spared)
    assert optimizer._use_weight_decay(net.get_layer("hidden").kernel)
    distiller.fit(DATA, verbose=0)
    distiller.compile(optimizer, kd.losses.MultiSimilarity())  # knows them already


def test_an_optimizer_that_is_built_already_cannot_spare_weights():
    net, optimizer = student(), keras.optimizers.AdamW(0.1)
    optimizer.build(net.trainable_variables)
    with pytest.raises(ValueError, match="compile with a new one.*which is built"):
        compiled(net, [kd.S2SD((4,), pooling="avg")], optimizer=optimizer)


def test_a_short_last_batch_counts_as_little_in_the_terms_as_in_the_total():
    distiller = compiled(
        with_methods=[methods.RelationalKL(weight=1.0)],
        teacher=teacher(),
    )
    logs = distiller.evaluate(IMAGES, LABELS, 8, verbose=0, return_dict=True)
    expected = logs["base_loss"] + logs["relational_kl_divergence"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_total_is_float32_beside_half_precision_losses_of_layers():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = student(extra=layers.ActivityRegularization(l2=3.0))
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = kd.Distiller(net, [methods.RelationalKL()], teacher())
    distiller.compile("sgd", loss=None)
    total = distiller.compute_loss(IMAGES, LABELS, distiller(IMAGES), training=False)
    assert total.dtype == "float32"


def test_a_float32_student_sees_its_images_in_float32_whatever_the_policy():
    net = student()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        distiller = kd.Distiller(net, [methods.RelationalKL()])
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_array_equal(distiller(IMAGES + 0.3), net(IMAGES + 0.3))


def test_of_several_outputs_the_embeddings_weights_weigh_the_terms():
    net = student()
    other = layers.Dense(4, name="other")(net.get_layer("features").output)
    net = keras.Model(net.input, [other, net.output])
    distiller = kd.Distiller(net, [methods.RelationalKL(weight=1.0)], teacher())
    distiller.compile("sgd", loss=["mse", kd.losses.MultiSimilarity(epsilon=None)])
    nothing, ones = np.zeros(12, "f4"), np.ones(12, "f4")

    def divergence(*weights):
        targets = [np.zeros((12, 4), "f4"), LABELS]
        data = tf.data.Dataset.from_tensors((IMAGES, tuple(targets), weights))
        logs = distiller.evaluate(data, verbose=0, return_dict=True)
        return logs["relational_kl_divergence"]

    assert divergence(nothing, ones) > 0
    assert divergence(ones, nothing) == 0


class Begun(keras.callbacks.Callback):
    """Notes whether training has begun."""

    steps = None

    def on_train_begin(self, logs=None):
        self.steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("form", [np.asarray, tf.constant, lambda y: {"label": y}])
@pytest.mark.parametrize("where", ["loss", "branches"])
def test_arrays_of_labels_out_of_range_are_refused_before_the_first_step(
    form, jit_compile, where
):
    loss, terms = kd.losses.ProxyAnchor(num_classes=3), []
    if where == "branches":
        terms = [kd.S2SD((4,), pooling="avg", criterion=loss)]
        loss = kd.losses.MultiSimilarity()
    distiller = compiled(with_methods=terms, loss=loss, jit_compile=jit_compile)
    begun = Begun()
    message = r"must lie in 0..2, for 'proxy_anchor' has as many.*labels=\[3\]"
    with pytest.raises(ValueError, match=message):
        distiller.fit(IMAGES, form(LABELS), callbacks=[begun], verbose=0)
    assert begun.steps is None


def test_labels_that_a_branch_has_no_weights_for_stop_the_step_as_well():
    method = kd.S2SD((4,), pooling="avg", criterion=kd.losses.ProxyAnchor(3))
    distiller = compiled(with_methods=[method])
    before = [np.array(v) for v in distiller.trainable_variables]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Labels must lie in 0..2"):
        distiller.fit(DATA, verbose=0)
    for old, new in zip(before, distiller.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("bad", [-1, 4])
def test_labels_out_of_range_stop_the_step_before_its_update(bad):
    distiller = compiled(loss=kd.losses.ProxyAnchor(num_classes=4))
    before = [np.array(v) for v in distiller.trainable_variables]
    labels = np.where(np.arange(12) == 5, bad, LABELS)
    data = tf.data.Dataset.from_tensors((IMAGES, labels))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Labels must lie in 0..3"):
        distiller.fit(data, verbose=0)
    for old, new in zip(before, distiller.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("labels", [np.full(12, 7), tf.fill([12], 7), [7] * 12])
def test_images_of_one_class_are_refused(labels):
    begun = Begun()
    with pytest.raises(ValueError, match=r"one class alone.*labels=\[7\]"):
        compiled().fit(IMAGES, labels, callbacks=[begun], verbose=0)
    assert begun.steps is None


def test_a_batch_of_one_class_among_others_adds_nothing_and_moves_nothing():
    distiller = compiled(loss=kd.losses.MultiSimilarity())
    before = [np.array(v) for v in distiller.trainable_variables]
    data = tf.data.Dataset.from_tensors((IMAGES, 0 * LABELS))
    history = distiller.fit(data, verbose=0).history
    assert history["loss"] == [0]
    for old, new in zip(before, distiller.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)
