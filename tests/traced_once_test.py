"""A training step is traced once: `fit` begins in half the time."""

import keras
import numpy as np
import pytest

import keras_distill as kd


class Counting(keras.losses.MeanSquaredError):
    """Counts how often Python computes it, which is while it is traced."""

    calls = 0

    def call(self, true, said):
        Counting.calls += 1
        return super().call(true, said)


def data():
    return np.ones((4, 3), "f4"), np.ones((4, 2), "f4")


@pytest.fixture
def student():
    Counting.calls = 0
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


@pytest.mark.parametrize("begin", ["fit", "train_on_batch"])
def test_a_step_is_traced_once(student, begin):
    distiller = kd.Distiller(student, [])
    distiller.compile(keras.optimizers.AdamW(0.1), Counting())
    more = {"verbose": 0} if begin == "fit" else {}
    getattr(distiller, begin)(*data(), **more)
    # Once to build what `compile` was given, if Keras has to, and once the step.
    assert Counting.calls == 1


def test_what_is_frozen_after_compile_has_no_place_in_the_optimizer(student):
    distiller = kd.Distiller(student, [])
    distiller.compile(keras.optimizers.Adam(0.1), Counting())
    student.layers[0].trainable = False
    distiller.compile(keras.optimizers.Adam(0.1), Counting())
    before = [w.copy() for w in student.get_weights()]
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        distiller.fit(*data(), verbose=0)
    for one, other in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_optimizer_that_was_built_is_left_as_it_is(student):
    distiller = kd.Distiller(student, [])
    distiller.compile(keras.optimizers.SGD(0.1, momentum=0.9), Counting())
    distiller.fit(*data(), verbose=0)
    moments = [np.array(v) for v in distiller.optimizer.variables]
    distiller.fit(*data(), epochs=2, verbose=0)
    assert int(distiller.optimizer.iterations) == 3
    assert len(moments) == len(distiller.optimizer.variables)
