"""Losses with weights, schedules, precision, compilation."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import methods
from tests.distiller.nets import DATA, compiled, student, teacher, values


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
