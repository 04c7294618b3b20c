"""What a Distiller takes for a method, and which layers it lets it read."""

import keras
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods
from tests.distiller.nets import DATA, IMAGES, LABELS, compiled, student, teacher


def test_something_else_is_not_a_method():
    with pytest.raises(TypeError, match="Expected a .*Method.*method='s2sd'"):
        kd.Distiller(student(), ["s2sd"])


def test_methods_need_names_of_their_own():
    with pytest.raises(ValueError, match=r"differ in name.*\['s2sd', 's2sd'\]"):
        kd.Distiller(student(), [kd.S2SD((4,), pooling="avg")] * 2)


def test_layers_of_a_nested_backbone_are_reached_by_path():
    images = keras.Input((6, 6, 1), name="image")
    inner = keras.Input((6, 6, 1))
    trunk = layers.Conv2D(4, 3, name="conv")(inner)
    trunk = keras.Model(inner, layers.Conv2D(5, 3, name="end")(trunk), name="backbone")
    x = layers.GlobalAveragePooling2D()(trunk(images))
    net = keras.Model(images, kd.layers.L2Normalization()(x))
    distiller = compiled(net, [kd.S2SD((4,))], feature_layer="backbone/conv")
    distiller.fit(DATA, verbose=0)
    assert distiller.methods[0].branches[0].input_shape == (None, 4)
    message = r"no layer 'backbone/conv9'. Its layers: .*backbone/conv, backbone/end"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(net, [kd.S2SD((4,))], feature_layer="backbone/conv9")


def test_a_subclassed_student_trains_but_cannot_be_read_by_layer():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = layers.Flatten(), layers.Dense(3)

        def call(self, images):
            return self.dense(self.flatten(images))

    net = Net()
    with pytest.raises(ValueError, match="must be built.*no weights yet"):
        kd.Distiller(net)
    net(IMAGES)
    compiled(net, [methods.RelationalKL()], teacher=teacher()).fit(DATA, verbose=0)
    with pytest.raises(ValueError, match="not those of a subclassed model.*Net"):
        kd.Distiller(net, [kd.S2SD((4,))])


@pytest.mark.parametrize("structure", ["dict", "list", "tuple"])
def test_students_of_several_outputs_train(structure):
    net = student()
    logits = layers.Dense(4, name="logits")(net.get_layer("features").output)
    outputs = {"vector": net.output, "logits": logits}
    losses = {
        "vector": kd.losses.MultiSimilarity(),
        "logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    targets, weights = (
        {"vector": LABELS, "logits": LABELS},
        {"vector": 2.0, "logits": 1.0},
    )
    if structure != "dict":
        kind = {"list": list, "tuple": tuple}[structure]
        outputs, losses, weights = (
            kind(x.values()) for x in (outputs, losses, weights)
        )
        targets = tuple(targets.values())  # a list would be read as one array
    many = keras.Model(net.input, outputs)
    distiller = compiled(
        many,
        [methods.RelationalKL(weight=1.0)],
        teacher=teacher(),
        loss=losses,
        loss_weights=weights,
        optimizer=keras.optimizers.Adam(1e-2),
    )
    data = tf.data.Dataset.from_tensors((IMAGES, targets))
    history = distiller.fit(data.repeat(20), epochs=3, verbose=0).history
    assert history["base_loss"][-1] < 0.9 * history["base_loss"][0]


def test_losses_of_several_outputs_get_weights_of_the_width_of_theirs():
    net = student(dim=3)
    wide = layers.Dense(5, name="wide")(net.get_layer("features").output)
    many = keras.Model(net.input, {"narrow": net.output, "wide": wide})
    losses = {"narrow": kd.losses.ProxyNCA(4), "wide": kd.losses.ProxyNCA(4)}
    distiller = compiled(many, loss=losses)
    targets = {"narrow": LABELS, "wide": LABELS}
    distiller.fit(tf.data.Dataset.from_tensors((IMAGES, targets)), verbose=0)
    owners = distiller.criterion_weights.owners
    assert [owner.weights[0].shape[-1] for owner in owners] == [3, 5]
