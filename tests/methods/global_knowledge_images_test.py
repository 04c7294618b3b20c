"""Global knowledge of images that are instances themselves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from tests.methods.tiny_knowledge import cosine
from tests.two_replicas import same_update


def net(dim=4, classes=3, name="student"):
    images = keras.Input((6, 6, 1))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(dim, "tanh", name="features")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name=name)


rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(3), 8).astype("i4")
IMAGES = (60 * LABELS[:, None, None, None] + rng.uniform(0, 90, (24, 6, 6, 1))).astype(
    "f4"
)
PICTURES = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(12)


def test_images_are_instances_of_classifiers():
    method = kd.GlobalKnowledge(
        3,
        "images",
        student_layer="features",
        teacher_layer="features",
        soft_labels="output",
        prototypes=4,
    )
    student, teacher = net(4), net(7, name="teacher")
    distiller = kd.Distiller(student, method, teacher=teacher)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.Adam(0.01), loss)
    history = distiller.fit(PICTURES.repeat(5), epochs=4, verbose=0).history
    for name in ("foreground", "soft_labels"):
        losses = history[f"global_knowledge_{name}"]
        assert losses[-1] < 0.7 * losses[0]
    assert "global_knowledge_background" not in history
    assert history["global_knowledge_global"][0] > 0

    logs = distiller.evaluate(
        IMAGES, LABELS, batch_size=24, verbose=0, return_dict=True
    )
    ours, theirs = (
        np.array(keras.Model(m.input, m.get_layer("features").output)(IMAGES))
        for m in (student, teacher)
    )
    student_rows, teacher_rows, there = method.bank.read("image")
    c, t = cosine(ours, student_rows), cosine(theirs, teacher_rows)
    own = method.bank.classes == LABELS[:, None]
    weights = 1 - np.abs(
        np.max(np.where(own & there, c, -2), 1)
        - np.max(np.where(own & there, t, -2), 1)
    )
    gaps = np.mean((weights[:, None] * (c - t))[:, there] ** 2) / 2
    assert logs["global_knowledge_global"] == pytest.approx(gaps, rel=1e-3)
    assert logs["global_knowledge_agreement"] == pytest.approx(weights.mean(), rel=1e-4)
    kernel, bias = (np.array(w) for w in method.adapters["image"].weights)
    squares = np.sum((ours @ kernel[0, 0] + bias - theirs) ** 2, 1)
    expected = np.sum(weights * squares) / (2 * 7 * weights.sum())
    assert logs["global_knowledge_foreground"] == pytest.approx(expected, rel=1e-3)


def test_embedders_learn_from_cached_embeddings_and_labels_in_a_dictionary():
    method = kd.GlobalKnowledge(3, "images", prototypes=4, teacher_dims={"image": 7})
    embeddings = rng.normal(size=(24, 7)).astype("f4")
    inputs = {"image": IMAGES, "teacher_embedding": embeddings}
    targets = {"label": LABELS, "more": IMAGES}
    data = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(12)
    distiller = kd.Distiller(net(4), method)
    distiller.compile("sgd")
    history = distiller.fit(data, epochs=2, verbose=0).history
    assert history["global_knowledge_global"][-1] > 0
    logged = {f"global_knowledge_{term}" for term in method.term_names}
    assert set(history) == {"loss", "base_loss"} | logged


def test_two_replicas_make_the_update_of_one():
    program = """
        data = rows.repeat(2)

        def net(dim):
            inputs = keras.Input((5,))
            x = keras.layers.Dense(7, "tanh")(inputs)
            model = keras.Model(inputs, keras.layers.Dense(dim)(x))
            weights = np.random.default_rng(1)
            model.set_weights(
                [weights.normal(size=w.shape) for w in model.get_weights()]
            )
            return model

        def run(strategy):
            with strategy.scope():
                student, teacher = net(4), net(6)
                method = kd.GlobalKnowledge(4, "images", prototypes=2)
                distiller = kd.Distiller(student, method, teacher=teacher)
                weights = np.random.default_rng(2)
                for v in method.trainable_variables:
                    v.assign(weights.normal(size=v.shape))
                distiller.compile(keras.optimizers.SGD(0.05))
            history = distiller.fit(data, epochs=3, verbose=0).history
            assert history["global_knowledge_global"][-1] > 0
            return history, student.get_weights() + method.get_weights()
    """
    same_update(program)
