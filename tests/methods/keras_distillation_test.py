"""Keras's own distillation losses work as terms of a Distiller."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods

EXAMPLES = [
    methods.KerasDistillation(
        keras.distillation.LogitsDistillation(temperature=5.0), weight=2.0, name="other"
    ),
]

rng = np.random.default_rng(0)
X = rng.normal(size=(12, 6)).astype("f4")
Y = np.repeat(np.arange(4), 3)


def net(dim):
    inputs = keras.Input((6,))
    x = layers.Dense(8, "relu", name="inner")(inputs)
    return keras.Model(inputs, layers.Dense(dim)(x))


def logs_of(student, term, teacher, loss=None):
    distiller = kd.Distiller(student, [term], teacher=teacher)
    distiller.compile("sgd", loss)
    return distiller.evaluate(X, Y, batch_size=12, verbose=0, return_dict=True)


def test_soft_labels_are_those_of_hinton():
    soft = keras.distillation.LogitsDistillation(
        temperature=3.0, loss=keras.losses.KLDivergence()
    )
    student, teacher = net(5), net(5)
    logs = logs_of(student, soft, teacher)
    p = np.array(tf.nn.softmax(teacher(X) / 3))
    q = np.array(tf.nn.softmax(student(X) / 3))
    expected = 9 * np.mean(np.sum(p * np.log(p / q), axis=1))
    assert logs["logits_distillation_distillation"] == pytest.approx(expected, rel=1e-3)


def test_naming_only_the_students_layer_is_not_ignored():
    term = keras.distillation.FeatureDistillation("mse", student_layer_name="inner")
    student, teacher = net(5), net(8)
    weighted = methods.KerasDistillation(term, weight=3.0)
    logs = logs_of(student, weighted, teacher, kd.losses.MultiSimilarity())
    inner = kd.models.tap(student, ["inner"])(X)["inner"]
    expected = np.mean(np.square(np.array(teacher(X)) - np.array(inner)))
    logged = logs["feature_distillation_distillation"]
    assert logged == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["base_loss"] + 3 * logged, rel=1e-4)


def test_refuses_a_weight_below_zero():
    loss = keras.distillation.LogitsDistillation()
    with pytest.raises(ValueError, match="not negative.*weight=-1"):
        methods.KerasDistillation(loss, weight=-1)


def test_what_the_loss_itself_requires_still_holds():
    term = keras.distillation.FeatureDistillation("mse")
    with pytest.raises(ValueError, match="[Dd]imension|shape"):
        logs_of(net(3), term, net(9))
