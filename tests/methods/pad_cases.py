"""What the tests of PAD share: nets, data, and a term of boxes."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

import keras_distill as kd
from keras_distill import methods

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 6, 6, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 3).astype("i4")
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS))


def close_gradient(actual, reference):
    np.testing.assert_allclose(actual, reference, rtol=1e-4, atol=1e-6)


def batch_of(rows, training=True, embeddings=None):
    return methods.Batch(None, None, embeddings, rows, training)


def total(terms):
    return sum(t.weight * t.mean() for t in terms.values() if t.weight is not None)


class Boxes(methods.TeacherTerm):
    """Squared differences of the features of each box; padding is not a box."""

    per_dim = True
    same_width = True

    def __init__(self, **kwargs):
        super().__init__(1.0, "boxes", "boxes", name="boxes", **kwargs)

    def distance(self, teacher, student):
        return ops.square(teacher - student)

    def compare(self, rows):
        return super().compare(rows)._replace(mask=rows.get("mask"))


def on_boxes(term, shape, variance=None, **options):
    method = kd.PAD(term, 1.0, variance, warm_up=1, **options)
    method.build({"output": (None, 9), "boxes": (None, *shape)})
    draw = np.random.default_rng(1)
    dense = method.head.dense
    dense.set_weights([draw.normal(size=w.shape) for w in dense.get_weights()])
    method.head.norm.gamma.assign(draw.uniform(0.5, 1, method.head.width))
    method.head.norm.beta.assign(draw.normal(size=method.head.width))
    method.steps.assign(1)
    return method


def student(dim=3):
    images = keras.Input((6, 6, 1), name="image")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(4, 3, activation="relu", name="features")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(dim, name="projection")(x)
    return keras.Model(images, kd.layers.L2Normalization(name="embedding")(x))


def teacher(dim=5):
    images = keras.Input((6, 6, 1))
    x = layers.Conv2D(6, 3, activation="relu", name="features")(images)
    x = layers.GlobalAveragePooling2D(name="pooled")(x / 255)
    return keras.Model(images, layers.Dense(dim)(x), name="teacher")


TEACHER = teacher()


def compiled(*pads, net=None, loss=None, optimizer=None, **options):
    distiller = kd.Distiller(net or student(), pads, teacher=TEACHER)
    distiller.compile(optimizer or keras.optimizers.Adam(1e-2), loss, **options)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]
