"""What `train.benchmark` times: a student, a way to train it, and random images."""

import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import keras_distill as kd

TEACHER_DIM = 512
EPOCHS = 10


class Contender:
    """A student that trains on one batch again and again.

    Args:
        name: One of the names in `train.benchmark.AGAINST`.
        settings: Dictionary of the benchmark's arguments.
    """

    def __init__(self, name, settings):
        keras.utils.set_random_seed(0)
        self.settings = settings
        self.model = _MAKERS[name](settings)
        images, labels, teacher = _batch(settings)
        inputs = images
        if name == "PAD of L2, cached teacher":
            inputs = {"image": images, "teacher_embedding": teacher}
        steps = settings["steps"]
        self.batches = tf.data.Dataset.from_tensors((inputs, labels)).repeat(steps)

    def steps(self):
        """Seconds a step, of one round of training.

        In the middle of a training: OBD-SD does nothing in its first epoch.
        """
        middle = EPOCHS // 2
        began = time.perf_counter()
        self.model.fit(
            self.batches,
            initial_epoch=middle,
            epochs=middle + 1,
            shuffle=False,
            verbose=0,
        )
        return (time.perf_counter() - began) / self.settings["steps"]


def time_criterion(settings, calls):
    """Median milliseconds of S2SD's terms with their gradients, at full size.

    For features of a MobileNet: 1280 channels on 3 x 3 cells.
    """
    batch = settings["classes"] * settings["per_class"]
    rng = np.random.default_rng(0)
    method = kd.S2SD(feature_delay=0)
    method.build({"output": (None, settings["dim"]), "features": (None, 3, 3, 1280)})
    method.take_criterion(kd.losses.MultiSimilarity())
    embeddings = tf.Variable(rng.normal(size=(batch, settings["dim"])), dtype="float32")
    features = tf.Variable(rng.normal(size=(batch, 3, 3, 1280)), dtype="float32")
    labels = np.repeat(np.arange(settings["classes"]), settings["per_class"])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            views = kd.methods.Views(embeddings, {"features": features}, training=True)
            rows = method.rows(views)
            terms = method.terms(
                kd.methods.Batch(labels, labels, embeddings, rows, True)
            )
            loss = sum(term.weight * term.mean() for term in terms.values())
        return tape.gradient(loss, [embeddings, features, *method.trainable_variables])

    times = []
    for _ in range(calls + 1):
        began = time.perf_counter()
        for gradient in step():
            gradient.numpy()  # waits for it, where a GPU computes behind our back
        times.append(time.perf_counter() - began)
    times = times[1:]  # without the tracing
    return 1000 * statistics.median(times)


def _batch(settings):
    rng = np.random.default_rng(0)
    size, count = settings["image_size"], settings["classes"] * settings["per_class"]
    images = rng.uniform(0, 255, (count, size, size, 3)).astype("float32")
    labels = np.repeat(np.arange(settings["classes"]), settings["per_class"])
    teacher = rng.normal(size=(count, TEACHER_DIM)).astype("float32")
    return images, labels.astype("int32"), teacher


def _student(settings):
    size = settings["image_size"]
    return kd.models.embedder(settings["backbone"], (size, size, 3), settings["dim"])


def _compiled(model):
    model.compile(keras.optimizers.AdamW(1e-3), loss=kd.losses.MultiSimilarity())
    return model


def _distiller(settings, *methods, **options):
    return _compiled(kd.Distiller(_student(settings), methods, **options))


def _plain(settings):
    return _compiled(_student(settings))


def _s2sd(settings):
    return _distiller(settings, kd.S2SD(feature_delay=0))


def _pad(settings):
    term = kd.methods.FeatureL2(teacher_dim=TEACHER_DIM)
    return _distiller(settings, kd.PAD(term, warm_up=1))


def _obd_sd(settings):
    distiller = _distiller(settings, kd.OBDSD())
    return _Ramped(distiller)


class _Ramped:
    """`fit` with the ramp of a whole training, of which a round is a part."""

    def __init__(self, distiller):
        self.distiller = distiller
        (self.method,) = distiller.methods

    def fit(self, batches, **options):
        schedule = kd.callbacks.StudentSnapshot(self.method, epochs=EPOCHS)
        return self.distiller.fit(batches, callbacks=[schedule], **options)


def _features(settings):
    term = kd.methods.FeatureL2(student_layer="pooled", teacher_layer="pooled")
    return _distiller(settings, term, teacher=_student(settings))


def _keras_features(settings):
    loss = keras.distillation.FeatureDistillation(
        loss="mse", teacher_layer_name="pooled", student_layer_name="pooled"
    )
    model = keras.distillation.Distiller(
        teacher=_student(settings),
        student=_student(settings),
        distillation_losses=loss,
    )
    return _compiled(model)


_MAKERS = {
    "plain": _plain,
    "S2SD": _s2sd,
    "PAD of L2, cached teacher": _pad,
    "OBD-SD": _obd_sd,
    "features, keras.distillation": _keras_features,
    "features, keras_distill": _features,
}
