"""Coefficients of methods follow a schedule, by epoch or by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_distill as kd
from keras_distill import methods
from keras_distill.callbacks import CoefficientSchedule

ROWS = np.random.default_rng(0).normal(size=(8, 5)).astype("f4")
DATA = tf.data.Dataset.from_tensors((ROWS, ROWS[:, 0])).repeat(2)


class Norm(methods.Method):
    """A term that any student has."""

    term_names = ("norm",)

    def __init__(self, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner
        self.add_coefficient("weight", 1.0)
        self.add_coefficient("power", 2.0)

    def terms(self, batch):
        norms = ops.sum(ops.abs(batch.embeddings) ** self.power, axis=-1)
        return {"norm": methods.Term(norms, self.weight)}


def trained(method, callbacks, epochs=3, distiller=None, **kwargs):
    """The distiller, and the coefficients `(weight, power)` that each step had."""
    if distiller is None:
        student = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
        distiller = kd.Distiller(student, [method])
        distiller.compile(keras.optimizers.SGD(1e-3))
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            (float(method.weight), float(method.power))
        )
    )
    callbacks = [*callbacks, note]
    history = distiller.fit(
        DATA, epochs=epochs, callbacks=callbacks, verbose=0, **kwargs
    )
    return distiller, seen, history.history


def test_an_epoch_has_one_value_and_the_step_sees_it():
    method = Norm(name="term")
    schedule = CoefficientSchedule(method, "weight", lambda epoch: 10 * epoch)
    _, seen, logs = trained(method, [schedule])
    assert [weight for weight, _ in seen] == [0, 0, 10, 10, 20, 20]
    ratio = np.array(logs["loss"]) / logs["term_norm"]
    np.testing.assert_allclose(ratio, [0, 10, 20], rtol=1e-5)


def test_a_step_counts_the_updates_made_even_by_an_earlier_fit():
    method = Norm()
    schedule = keras.optimizers.schedules.PolynomialDecay(4.0, 8, 2.0)
    callbacks = [CoefficientSchedule(method, "power", schedule, every="step")]
    distiller, seen, _ = trained(method, callbacks, epochs=2)
    np.testing.assert_allclose([power for _, power in seen], [4, 3.75, 3.5, 3.25])
    _, seen, _ = trained(method, callbacks, 3, distiller, initial_epoch=2)
    np.testing.assert_allclose([power for _, power in seen], [3, 2.75])
    assert float(method.power) == 2.75


def test_several_schedules_go_together():
    method = Norm()
    callbacks = [
        CoefficientSchedule(method, "weight", lambda epoch: epoch + 1),
        CoefficientSchedule(method, "power", lambda step: 2 + step, every="step"),
    ]
    _, seen, _ = trained(method, callbacks, epochs=2)
    assert seen == [(1, 2), (1, 3), (2, 4), (2, 5)]


def test_a_method_inside_a_method_has_its_own():
    outer = Norm(inner=Norm(name="inner"), name="outer")
    schedule = CoefficientSchedule(outer.inner, "weight", lambda epoch: 7.0)
    _, seen, _ = trained(outer, [schedule], epochs=1)
    assert seen == [(1, 2), (1, 2)]
    assert float(outer.inner.weight) == 7


def test_methods_of_the_library_have_coefficients():
    for method, name in (
        (kd.OBDSD(), "diffusion_tau"),
        (kd.S2SD(), "feature_weight"),
        (methods.RelationalKL(), "temperature"),
    ):
        assert CoefficientSchedule(method, name, lambda epoch: 1.0).method is method


def test_refuses_a_coefficient_that_is_not_there():
    message = "coefficient of 'obd_sd': diffusion_tau, tau, weight. .*name='ramp'"
    with pytest.raises(ValueError, match=message):
        CoefficientSchedule(kd.OBDSD(), "ramp", lambda epoch: epoch)
    with pytest.raises(ValueError, match="of 'method': it has none.*name='weight'"):
        CoefficientSchedule(methods.Method(name="method"), "weight", abs)


def test_refuses_a_schedule_that_is_none():
    with pytest.raises(TypeError, match="must be callable.*schedule=0.5"):
        CoefficientSchedule(Norm(), "weight", 0.5)
    with pytest.raises(ValueError, match="one of.*'epoch', 'step'.*every='batch'"):
        CoefficientSchedule(Norm(), "weight", abs, every="batch")


def test_refuses_a_method_of_another_model():
    stranger = CoefficientSchedule(Norm(name="stranger"), "weight", abs)
    with pytest.raises(ValueError, match="must belong to.*method='stranger'"):
        trained(Norm(), [stranger])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, None])
def test_refuses_what_the_method_itself_would_refuse(value):
    method = Norm()
    schedule = CoefficientSchedule(method, "weight", {0: 1.0, 1: value}.get)
    message = f"schedule of 'weight' gave {value} for epoch=1: `weight` must be .*"
    with pytest.raises(ValueError, match=message):
        trained(method, [schedule])
    assert float(method.weight) == 1


@pytest.mark.parametrize("every", ["epoch", "step"])
def test_a_temperature_must_not_decay_to_zero(every):
    method = methods.RelationalKL(temperature=2.0)
    decay = keras.optimizers.schedules.PolynomialDecay(1.0, 1, 0.0)
    schedule = CoefficientSchedule(method, "temperature", decay, every)
    inputs = {"image": ROWS, "teacher_embedding": ROWS}
    student = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    distiller = kd.Distiller(student, [method])
    distiller.compile("sgd")
    message = rf"gave 0.0 for {every}=1: `temperature` must be positive.*divided by"
    with pytest.raises(ValueError, match=message):
        distiller.fit(inputs, batch_size=8, epochs=2, callbacks=[schedule], verbose=0)
    assert float(method.temperature) == 1.0


@pytest.mark.parametrize(
    "method, name",
    [
        (kd.S2SD(), "temperature"),
        (kd.OBDSD(), "tau"),
        (kd.OBDSD(), "diffusion_tau"),
        (methods.SoftTargets(), "temperature"),
    ],
)
def test_what_is_divided_by_is_positive(method, name):
    schedule = CoefficientSchedule(method, name, lambda epoch: 0)
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        schedule.on_epoch_begin(0)
