"""`fit` of a Distiller behaves as that of any Keras model, with terms added.

Each test named after a fault of `keras.distillation.Distiller` (Keras 3.15) holds
that this one does not have it.
"""

import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from keras_distill import methods
from tests.distiller.nets import (
    DATA,
    IMAGES,
    LABELS,
    compiled,
    same,
    student,
    teacher,
    values,
)


@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_without_methods_it_trains_as_the_student_does(regularizer):
    net = student(regularizer=regularizer)
    twin = student(regularizer=regularizer)
    twin.set_weights(net.get_weights())
    loss = kd.losses.MultiSimilarity(epsilon=None)
    twin.compile(keras.optimizers.SGD(0.1), loss)
    distiller = compiled(net)
    weights = np.random.default_rng(1).uniform(0, 2, 12).astype("f4")
    # A whole batch a step: the loss of a batch depends on who is in it.
    arguments = {"sample_weight": weights, "batch_size": 12, "verbose": 0}
    ours = distiller.fit(IMAGES, LABELS, epochs=3, **arguments).history
    theirs = twin.fit(IMAGES, LABELS, epochs=3, **arguments).history
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)
    same(values(net), values(twin))
    np.testing.assert_allclose(
        distiller.predict(IMAGES, verbose=0), twin.predict(IMAGES, verbose=0), rtol=1e-4
    )
    assert distiller.evaluate(DATA, verbose=0, return_dict=True)[
        "loss"
    ] == pytest.approx(twin.evaluate(DATA, verbose=0), rel=1e-5)


def test_regularisers_and_added_losses_are_counted():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(0 * keras.ops.sum(x) + 5.0)
            return x

    net = student(regularizer=keras.regularizers.L2(100.0), extra=Penalty())
    distiller = compiled(net, [kd.methods.RelationalKL()], teacher=teacher())
    logs = distiller.evaluate(DATA, verbose=0, return_dict=True)
    kernel = np.array(net.get_layer("hidden").kernel)
    plain = logs["base_loss"] + 50 * logs["relational_kl_divergence"]
    expected = plain + 100 * np.square(kernel).sum() + 5.0
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    alone = kd.losses.MultiSimilarity(epsilon=None)(LABELS, net(IMAGES))
    assert logs["base_loss"] == pytest.approx(float(alone), rel=1e-2)


def test_sample_weights_reach_the_base_loss_and_the_terms():
    distiller = compiled(
        with_methods=[methods.RelationalKL(weight=1.0)], teacher=teacher()
    )
    none, one_row = np.zeros(12, "f4"), np.eye(12, dtype="f4")[3]
    arguments = {"batch_size": 12, "verbose": 0, "return_dict": True}
    logs = distiller.evaluate(IMAGES, LABELS, sample_weight=none, **arguments)
    assert logs["loss"] == 0
    logs = distiller.evaluate(IMAGES, LABELS, sample_weight=one_row, **arguments)
    rows = kd.similarity.relational_kl(
        distiller.teacher(IMAGES), distiller.student(IMAGES)
    )
    divergence = logs["relational_kl_divergence"]
    assert divergence == pytest.approx(float(rows[3]) / 12, rel=1e-3)


def test_class_weights_are_honoured():
    distiller = compiled()
    before = values(distiller)
    # Not a data set: Keras takes class weights with arrays of integer labels too.
    distiller.fit(IMAGES, LABELS, class_weight=dict.fromkeys(range(4), 0.0), verbose=0)
    trained = [v.trainable for v in distiller.variables]
    for old, new, counts in zip(before, values(distiller), trained, strict=True):
        if counts:
            np.testing.assert_array_equal(old, new)


@keras.saving.register_keras_serializable(package="test")
class Counter(layers.Layer):
    """Counts its calls with data in a variable."""

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, x):
        self.calls.assign_add(1)
        return x


def test_each_step_runs_the_student_once():
    counter = Counter()
    net = student(extra=counter)
    terms = [
        methods.RelationalKL(name="outputs"),
        keras.distillation.FeatureDistillation("mse", "inner", "features"),
        kd.S2SD(dims=(4,), pooling="avg"),
    ]
    distiller = compiled(net, terms, teacher=teacher())
    before = int(counter.calls)
    distiller.fit(DATA.repeat(5), verbose=0)
    assert int(counter.calls) - before == 5


def test_batch_statistics_move_as_far_as_in_the_plain_student():
    net, twin = student(), student()
    twin.set_weights(net.get_weights())
    term = keras.distillation.FeatureDistillation("mse", "inner", "features")
    compiled(net, [term], teacher=teacher(), optimizer=keras.optimizers.SGD(0.0)).fit(
        DATA.repeat(4), verbose=0
    )
    twin.compile(keras.optimizers.SGD(0.0), kd.losses.MultiSimilarity())
    twin.fit(DATA.repeat(4), verbose=0, shuffle=False)
    same(values(net), values(twin))


def test_evaluate_changes_nothing():
    term = keras.distillation.FeatureDistillation("mse", "inner", "features")
    distiller = compiled(
        with_methods=[term, kd.S2SD((4,), pooling="avg")], teacher=teacher()
    )
    distiller.fit(DATA, verbose=0)
    before = values(distiller)
    distiller.evaluate(DATA, verbose=0)
    changed = [
        v.path
        for v, old in zip(distiller.variables, before, strict=True)
        if np.any(np.array(v) != old) and "loss" not in v.path and "count" not in v.path
    ]
    assert [p for p in changed if "s2sd_" not in p and "total" not in p] == []
