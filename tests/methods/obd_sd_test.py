"""OBD-SD is the criterion of the authors, and trains inside `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import keras_distill as kd
from keras_distill import methods
from keras_distill.callbacks import StudentSnapshot
from keras_distill.methods import obd_sd
from keras_distill.methods.batch_diffusion import batch_diffusion, diffusion_kl
from tests.methods.obd_sd_cases import (
    DATA,
    IMAGES,
    LABELS,
    compiled,
    identical,
    student,
    values,
)
from tests.two_replicas import same_update

EXAMPLES = [
    methods.OBDSD(
        weight=5.0,
        omega=0.5,
        tau=0.5,
        diffusion_tau=0.1,
        form="symmetric",
        name="other",
    ),
]
rng = np.random.default_rng(0)


# The whole criterion.


@pytest.mark.parametrize(
    "name", ["obd_ms_cub_b32", "obd_margin_cub_b32", "obd_psd_ms_b32"]
)
def test_is_the_authors_criterion_in_value_and_gradient(name, reference):
    file = reference(name)
    weight, tau = float(file["hp_kd_lambda"]), float(file["hp_kd_tau"])
    omega = float(file["hp_diffusion_w"]) if file["hp_OBDP"] else 0.0
    method = methods.OBDSD(weight, omega, tau, float(file["hp_diffusion_tau"]))
    student, teacher = tf.Variable(file["in_student"]), tf.Variable(file["in_teacher"])
    beta = tf.Variable(file["in_beta"]) if "in_beta" in file else None
    labels = file["in_labels"]
    for i, epoch in enumerate(file["hp_epochs"]):
        share = epoch / file["hp_n_epochs"]
        method.ramp.assign(share)
        with tf.GradientTape() as tape:
            batch = methods.Batch(labels, labels, student, {"teacher": teacher}, True)
            term = method.terms(batch)["distillation"]
            if beta is None:
                base = tf.reduce_mean(kd.losses.MultiSimilarity().call(labels, student))
            else:
                triplets = file["in_triplets"]
                base = kd.losses.margin_loss(student, labels, triplets, beta)
            loss = base + term.weight * term.mean()
        atol = 2e-5 + weight * share * tau**2 * 3e-5
        np.testing.assert_allclose(loss, file["out_loss_f64"][i], rtol=0, atol=atol)
        if epoch == 0:
            assert float(loss) == float(base)
        else:
            np.testing.assert_allclose(term.mean(), file["out_kl_f64"], atol=3e-5)
        sources = [student, teacher] + [beta] * (beta is not None)
        to_student, to_teacher, *to_beta = tape.gradient(loss, sources)
        close_gradient(to_student, file["grad_student"][i])
        assert to_teacher is None
        for gradient in to_beta:
            close_gradient(gradient, file["grad_beta"][i])


def close_gradient(actual, reference):
    atol = 1e-4 * np.abs(reference).max() + 1e-8
    np.testing.assert_allclose(actual, reference, rtol=0, atol=atol)


# Inside `fit`.


@keras.saving.register_keras_serializable(package="test")
class Witness(layers.Layer):
    """Notes each time that it runs, whether as part of the student or of a copy.

    Also what a copy must not do twice: a loss, and a state that changes.
    """

    runs = []

    def build(self, shape):
        self.state = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x, training=None):
        of = "student" if self.trainable else "snapshot"
        tf.py_function(lambda: Witness.runs.append((of, bool(training))), [], [])
        self.state.assign_add(1.0)
        self.add_loss(1e-3 * ops.sum(ops.square(x)))
        return x


def witnessed(monkeypatch):
    """A distiller, and a list of what its steps ran."""
    Witness.runs = runs = []
    for function in (batch_diffusion, diffusion_kl):

        def noted(*args, _function=function):
            tf.py_function(lambda: runs.append(_function.__name__), [], [])
            return _function(*args)

        monkeypatch.setattr(obd_sd, function.__name__, noted)
    net = student(Witness(), kernel_regularizer="l2", activity_regularizer="l2")
    return net, runs


def test_the_first_epoch_is_plain_training_and_costs_nothing(monkeypatch):
    net, runs = witnessed(monkeypatch)
    plain = keras.models.clone_model(net)
    plain.set_weights(net.get_weights())
    method = kd.OBDSD()
    ours, theirs = compiled(net, [method]), compiled(plain, [])
    told = StudentSnapshot(method, epochs=3)
    a = ours.fit(DATA, callbacks=[told], validation_data=DATA, verbose=0).history
    assert set(runs) == {("student", True), ("student", False)}
    ran = runs.count(("student", True)), runs.count(("student", False))
    assert ran == (2, 2)
    b = theirs.fit(DATA, validation_data=DATA, verbose=0).history
    assert a.pop("obd_sd_distillation") == a.pop("val_obd_sd_distillation") == [0]
    assert a == b
    identical(values(net), values(plain))
    assert net.losses  # of the kinds that the copy must not add
    optimizers = zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True)
    for one, other in optimizers:
        np.testing.assert_array_equal(one, other)

    runs.clear()
    before = np.array(method.snapshot.get_layer("bn").moving_mean)
    ours.fit(DATA, initial_epoch=1, epochs=2, callbacks=[told], verbose=0)
    assert sorted(map(str, runs)) == sorted(
        2 * ["('student', True)", "('snapshot', False)"]
        + 2 * ["batch_diffusion", "diffusion_kl"]
    )
    # Plain weights of the epoch before until the end of this one.
    assert np.any(before != np.array(method.snapshot.get_layer("bn").moving_mean))
    identical(net.get_weights(), method.snapshot.get_weights())


def test_the_losses_and_states_of_the_copy_do_not_count():
    method = kd.OBDSD(weight=0.0)
    net = student(Witness(), kernel_regularizer="l2", activity_regularizer="l2")
    plain = keras.models.clone_model(net)
    plain.set_weights(net.get_weights())
    ours = compiled(net, [method])
    method.ramp.assign(0.5)
    kept = method.snapshot.get_weights()
    logs = ours.evaluate(DATA, verbose=0, return_dict=True)
    expected = compiled(plain, []).evaluate(DATA, verbose=0, return_dict=True)
    assert logs.pop("obd_sd_distillation") == pytest.approx(0, abs=1e-3)
    assert logs == pytest.approx(expected, rel=1e-6)
    identical(method.snapshot.get_weights(), kept)


@pytest.mark.parametrize("outputs, form", [(1, "softmax"), (2, "symmetric")])
def test_the_term_is_that_of_the_copy_on_the_very_same_images(outputs, form):
    method = kd.OBDSD(weight=7.0, omega=0.5, tau=0.5, diffusion_tau=0.1, form=form)
    net = student(outputs=outputs)
    distiller = kd.Distiller(net, [method])
    distiller.compile("sgd")
    method.ramp.assign(0.25)
    drifted = [w + 0.1 * rng.normal(size=w.shape) ** 2 for w in net.get_weights()]
    method.snapshot.set_weights(drifted)
    # A view for a teacher, of methods that have one, is not for the copy.
    inputs = {"image": IMAGES, "teacher_image": 0 * IMAGES, "other": 0 * IMAGES}
    data = tf.data.Dataset.from_tensors((inputs, LABELS))
    logs = distiller.evaluate(data, verbose=0, return_dict=True)
    f, t = net(IMAGES), method.snapshot(IMAGES, training=False)
    f, t = keras.tree.flatten(f)[-1], keras.tree.flatten(t)[-1]
    rows = diffusion_kl(batch_diffusion(t, 0.5, 0.5, 0.1, form), f, 0.5)
    divergence = float(np.mean(rows))
    assert divergence > 1e-3
    assert logs["obd_sd_distillation"] == pytest.approx(divergence, rel=1e-3)
    expected = 7.0 * 0.25 * 0.5**2 * divergence
    assert logs["loss"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    "policy, jit_compile", [("float32", False), ("mixed_float16", True)]
)
def test_fit_learns_and_leaves_the_student_bare(policy, jit_compile):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        net = student()
    finally:
        keras.config.set_dtype_policy(before)
    bare = [v.path for v in net.variables]
    method = kd.OBDSD(weight=20.0)
    optimizer = keras.optimizers.Adam(1e-2)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    distiller = compiled(net, [method], optimizer, jit_compile=jit_compile)
    history = distiller.fit(DATA.repeat(5), epochs=3, verbose=0).history
    assert history["base_loss"][-1] < 0.9 * history["base_loss"][0]
    assert np.isfinite(list(history.values())).all()
    assert history["obd_sd_distillation"][0] == 0
    assert min(history["obd_sd_distillation"][1:]) > 0
    assert float(method.ramp) == pytest.approx(2 / 3)
    assert [v.path for v in net.variables] == bare
    kept = method.snapshot.get_layer("hidden").compute_dtype
    assert kept == ("float16" if policy == "mixed_float16" else "float32")


def test_xla_makes_the_same_update():
    nets = [student(), student()]
    nets[1].set_weights(nets[0].get_weights())
    histories = []
    for net, jit in zip(nets, [False, True], strict=True):
        distiller = compiled(
            net, [kd.OBDSD(omega=0.9)], keras.optimizers.SGD(0.02), jit_compile=jit
        )
        histories.append(distiller.fit(DATA, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-3)
    for a, b in zip(nets[0].get_weights(), nets[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_stands_beside_s2sd():
    terms = [kd.OBDSD(weight=7.0), kd.S2SD((4,), 5.0, 3.0, 1.0, 0, "avg")]
    distiller = compiled(student(), terms)
    distiller.fit(DATA, epochs=2, verbose=0)
    logs = distiller.evaluate(DATA, verbose=0, return_dict=True)
    expected = (
        0.5 * (logs["base_loss"] + logs["s2sd_branches"])
        + 5.0 * logs["s2sd_distillation"]
        + 3.0 * logs["s2sd_features"]
        + 7.0 * 0.5 * logs["obd_sd_distillation"]
    )
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["obd_sd_distillation"] > 0


# Replicas.


def test_two_replicas_make_the_update_of_one():
    program = """
        data = rows.repeat(2)

        def run(strategy):
            with strategy.scope():
                inputs = keras.Input((5,))
                x = keras.layers.Dense(7, "tanh", kernel_regularizer="l2")(inputs)
                x = kd.layers.L2Normalization()(keras.layers.Dense(4)(x))
                student = keras.Model(inputs, x)
                weights = np.random.default_rng(1)
                student.set_weights(
                    [weights.normal(size=w.shape) for w in student.get_weights()]
                )
                method = kd.OBDSD(100.0, 0.9, 0.5, 0.1)
                distiller = kd.Distiller(student, [method])
                loss = kd.losses.MultiSimilarity(epsilon=None)
                distiller.compile(keras.optimizers.SGD(0.05), loss)
            history = distiller.fit(data, epochs=3, verbose=0).history
            assert method.ramp.numpy() > 0.6 and history["obd_sd_distillation"][-1] > 0
            return history, student.get_weights() + method.snapshot.get_weights()
    """
    same_update(program)
