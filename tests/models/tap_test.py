"""A tapped model is the same model, with a view inside."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_distill import models
from keras_distill.models.tap import layer_shape, measured_shape


def nested():
    inner = keras.Input((4,))
    deepest = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a")], name="deepest"
    )
    trunk = keras.Model(inner, layers.Dense(5, name="b")(deepest(inner)), name="trunk")
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2, name="head")(trunk(inputs)), name="net")


X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def test_shares_every_weight_and_gives_the_same_output():
    net = nested()
    view = models.tap(net, ["trunk/deepest/a", "trunk", "head"])
    assert {id(v) for v in view.variables} == {id(v) for v in net.variables}
    found = view(X)
    np.testing.assert_array_equal(found["output"], net(X))
    np.testing.assert_array_equal(found["head"], net(X))
    trunk = net.get_layer("trunk")
    np.testing.assert_allclose(found["trunk"], trunk(X), rtol=1e-6)
    dense = trunk.get_layer("deepest").get_layer("a")
    np.testing.assert_allclose(found["trunk/deepest/a"], dense(X), rtol=1e-6)


def test_reads_a_sequential_model():
    net = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, name="a"), layers.Dense(2, name="b")]
    )
    found = models.tap(net, ["a"])(X)
    np.testing.assert_allclose(found["a"], net.layers[0](X), rtol=1e-6)
    np.testing.assert_allclose(found["output"], net(X), rtol=1e-6)


def test_keeps_several_inputs_and_outputs():
    inputs = {"x": keras.Input((4,), name="x"), "y": keras.Input((4,), name="y")}
    both = layers.Add(name="sum")([inputs["x"], inputs["y"]])
    net = keras.Model(inputs, {"one": layers.Dense(1)(both), "two": both})
    found = models.tap(net, ["sum"])({"x": X, "y": 2 * X})
    np.testing.assert_allclose(found["sum"], 3 * X, rtol=1e-6)
    assert set(found["output"]) == {"one", "two"}


def test_a_layer_that_is_used_twice_gives_its_last_output():
    inputs = keras.Input((4,))
    dense = layers.Dense(4, name="twice")
    net = keras.Model(inputs, layers.Activation("tanh")(dense(dense(inputs))))
    np.testing.assert_allclose(
        models.tap(net, ["twice"])(X)["twice"], dense(dense(X)), rtol=1e-6
    )


class Misjudged(layers.Layer):
    """Gives maps of other sizes than it says."""

    def call(self, images):
        return {"P3": images[:, ::8, ::8], "P4": images[:, ::16, ::16]}

    def compute_output_spec(self, images):
        return {
            level: keras.KerasTensor((None, 4, 4, 3), "float32")
            for level in ("P3", "P4")
        }


def test_a_look_at_an_image_tells_shapes_that_a_layer_misjudges():
    images = keras.Input((32, 48, 3))
    maps = Misjudged(name="maps")(images)
    net = keras.Model(images, layers.Flatten()(maps["P3"]))
    assert layer_shape(net, "maps")["P4"] == (None, 4, 4, 3)
    assert measured_shape(net, "maps") == {"P3": (1, 4, 6, 3), "P4": (1, 2, 3, 3)}
    images = keras.Input((None, None, 3))
    any_size = keras.Model(images, layers.Conv2D(2, 1, name="maps")(images))
    assert measured_shape(any_size, "maps") == (None, None, None, 2)


def test_says_which_layers_there_are():
    message = "'net' has no layer 'x'.*trunk, trunk/deepest, trunk/deepest/a, trunk/b"
    with pytest.raises(ValueError, match=message):
        models.tap(nested(), ["x"])


def test_refuses_a_model_without_a_graph():
    class Net(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="not those of a subclassed model.*Net"):
        models.tap(Net(name="mine"), ["a"])
