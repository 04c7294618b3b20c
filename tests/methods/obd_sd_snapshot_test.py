"""The copy of the student: of which students, how frozen, and not counted."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from tests.methods.obd_sd_cases import (
    DATA,
    IMAGES,
    compiled,
    identical,
    student,
)


def test_the_copy_is_frozen_and_told_apart_from_the_student():
    method = kd.OBDSD()
    net = student()
    distiller = compiled(net, [method])
    assert method.snapshot.trainable_variables == []
    trained = [v.path for v in distiller.trainable_variables]
    assert trained == [v.path for v in net.trainable_variables]
    assert not {v.path for v in net.variables} & {v.path for v in method.variables}
    identical(net.get_weights(), method.snapshot.get_weights())
    assert not {id(v) for v in net.variables} & {id(v) for v in method.variables}


class Subclassed(keras.Model):
    def __init__(self, dim=3, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.flatten, self.dense = layers.Flatten(), layers.Dense(dim)

    def call(self, images):
        return kd.similarity.normalize(self.dense(self.flatten(images)))


def nested():
    trunk = keras.Sequential(
        [keras.Input((6, 6, 1)), layers.Conv2D(3, 3)], name="trunk"
    )
    images = keras.Input((6, 6, 1))
    x = layers.GlobalAveragePooling2D()(trunk(images))
    return keras.Model(images, kd.layers.L2Normalization()(x))


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Flatten(),
            layers.Dense(3),
            layers.UnitNormalization(),
        ]
    )


def subclassed():
    net = Subclassed()
    net(IMAGES)
    return net


@pytest.mark.parametrize("make", [nested, sequential, subclassed])
def test_students_of_every_make_are_copied(make):
    net = make()
    net.compile("adam", "mse")  # what is compiled is none of the copy's business
    method = kd.OBDSD()
    distiller = compiled(net, [method])
    np.testing.assert_array_equal(method.snapshot(IMAGES), net(IMAGES))
    if make is subclassed:
        distiller.fit(DATA, epochs=2, verbose=0)
    assert len(method.snapshot.variables) == len(net.variables)


@keras.saving.register_keras_serializable(package="test")
class Standardize(layers.Layer):
    """A layer within a layer: what is adapted has to be looked for."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.norm = layers.Normalization()

    def build(self, shape):
        self.norm.build(shape)

    def call(self, x):
        return self.norm(x)


@pytest.mark.parametrize("within", ["model", "layer"])
def test_an_adapted_student_and_its_copy_agree(within):
    norm = layers.Normalization() if within == "model" else Standardize()
    inputs = keras.Input((6, 6, 1))
    trunk = keras.Model(inputs, norm(inputs), name="trunk")
    images = keras.Input((6, 6, 1))
    x = layers.Dense(3)(layers.Flatten()(trunk(images)))
    net = keras.Model(images, kd.layers.L2Normalization()(x))
    getattr(norm, "norm", norm).adapt(IMAGES)
    distiller = compiled(net, [kd.OBDSD(omega=0.0)], keras.optimizers.SGD(0.0))
    logs = distiller.fit(DATA, epochs=2, verbose=0).history
    np.testing.assert_allclose(logs["obd_sd_distillation"], 0, atol=1e-6)


def test_a_student_adapted_anew_is_copied_as_it_is():
    norm = layers.Normalization()
    net = keras.Sequential([keras.Input((6, 6, 1)), norm, layers.Flatten()])
    method = kd.OBDSD()
    kd.Distiller(net, [method])
    norm.adapt(IMAGES)
    method.take_snapshot()
    np.testing.assert_allclose(method.snapshot(IMAGES), net(IMAGES), rtol=1e-6)


def test_a_student_that_its_configuration_cannot_make_again_is_refused():
    class Odd(Subclassed):
        def __init__(self, dense):
            keras.Model.__init__(self)
            self.flatten, self.dense = layers.Flatten(), dense

        def get_config(self):
            return {}

    class Late(Subclassed):
        def build(self, shape):
            self.extra = self.add_weight(shape=(len(Late.made),))
            Late.made.append(self)
            super().build(shape)

        made = []

    for net, why in (Odd(layers.Dense(3)), "'dense'"), (Late(), "of the copy"):
        net(IMAGES)
        with pytest.raises(ValueError, match=f"(?s)configuration can copy.*{why}"):
            kd.Distiller(net, [kd.OBDSD()])


def test_a_student_that_gives_maps_is_refused():
    net = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3)])
    message = r"'obd_sd' compares embeddings, .*of shape \(None, 4, 4, 3\)"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(net, [kd.OBDSD()])


def test_a_method_serves_one_student():
    method, net = kd.OBDSD(), student()
    kd.Distiller(net, [method])
    kd.Distiller(net, [method])
    with pytest.raises(ValueError, match="a new one for each.*student='functional"):
        kd.Distiller(student(), [method])
