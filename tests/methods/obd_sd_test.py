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
from keras_distill.methods.obd_sd import batch_diffusion, diffusion_kl
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


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def softmax(rows):
    powers = np.exp(rows - rows.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


# The targets.

SETTINGS = {"softmax": 6, "symmetric": 4}
FILES = {"softmax": "obd_diffusion_b16_d32", "symmetric": "obd_diffusion_sym_b16_d32"}


@pytest.mark.parametrize(
    "form, index", [(form, i) for form, n in SETTINGS.items() for i in range(n)]
)
def test_targets_and_divergence_are_those_of_the_authors(form, index, reference):
    file = reference(FILES[form])
    if form == "softmax":
        omega, diffusion_tau, tau = map(float, file["hp_grid_omega_taudiff_tau"][index])
    else:
        (omega, tau), diffusion_tau = map(float, file["hp_grid_omega_tau"][index]), 1.0
    target = batch_diffusion(file["in_teacher"], omega, tau, diffusion_tau, form)
    np.testing.assert_allclose(target, file["out_target_f64"][index], atol=5e-6)
    np.testing.assert_allclose(np.sum(target, axis=1), 1, atol=1e-6)
    divergence = diffusion_kl(target, file["in_student"], tau)
    np.testing.assert_allclose(
        np.mean(divergence), file["out_kl_f64"][index], atol=3e-5
    )


def test_the_target_is_where_a_restarting_walk_over_the_batch_ends():
    rng = np.random.default_rng(0)
    teacher = unit(rng.normal(size=(7, 4)))
    likeness, omega = teacher @ teacher.T, 0.6
    walk = np.zeros((7, 7))
    for i in range(7):
        others = [j for j in range(7) if j != i]
        walk[i, others] = softmax(likeness[i : i + 1, others] / 0.2)[0]
    expected, arrived = 0, softmax(likeness / 0.5)
    for step in range(60):
        expected = expected + (1 - omega) * omega**step * arrived
        arrived = walk @ arrived
    target = batch_diffusion(teacher.astype("f4"), omega, 0.5, 0.2)
    np.testing.assert_allclose(target, expected, rtol=1e-5)


@pytest.mark.parametrize("form", ["softmax", "symmetric"])
def test_without_spreading_nothing_is_solved_and_the_target_is_that_of_psd(
    form, monkeypatch
):
    monkeypatch.setattr(ops, "solve", None)
    teacher = unit(np.random.default_rng(0).normal(size=(6, 4)))
    target = batch_diffusion(teacher, 0.0, 0.5, 0.1, form)
    np.testing.assert_allclose(target, softmax(teacher @ teacher.T / 0.5), rtol=1e-5)


@pytest.mark.parametrize("form", ["softmax", "symmetric"])
def test_the_targets_of_a_little_spreading_are_almost_those_of_none(form):
    teacher = unit(np.random.default_rng(0).normal(size=(6, 4)))
    targets = [batch_diffusion(teacher, omega, form=form) for omega in (0.0, 1e-4)]
    np.testing.assert_allclose(*targets, rtol=1e-3)


def test_the_targets_of_endless_spreading_are_one_row():
    teacher = unit(np.random.default_rng(0).normal(size=(12, 4)))
    target = np.array(batch_diffusion(teacher, 0.999))
    assert np.ptp(target, axis=0).max() < 5e-3 * target.max()
    # At this temperature it is close to uniform, as the documentation says.
    entropy = -np.sum(target * np.log(target), axis=1) / np.log(12)
    assert entropy.min() > 0.98


def test_the_symmetric_form_survives_images_that_nobody_resembles():
    opposite = np.array([[1, 0], [1, 0], [-1, 0], [0.6, 0.8]], "f4")
    teacher = unit(np.random.default_rng(0).normal(size=(20, 3)) - 0.2)
    assert ((teacher @ teacher.T).sum(1) < 1).any()  # degrees below 0, not clamped
    for rows in (opposite, teacher):
        target = batch_diffusion(rows, 0.9, 0.5, form="symmetric")
        np.testing.assert_allclose(np.sum(target, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("form", ["softmax", "symmetric"])
def test_half_precision_rows_and_a_small_temperature_stay_finite(form):
    teacher = unit(np.random.default_rng(0).normal(size=(9, 4))).astype("f2")
    target = batch_diffusion(teacher, 0.5, 0.01, 0.005, form)
    assert target.dtype == "float32"
    again = batch_diffusion(teacher.astype("f4"), 0.5, 0.01, 0.005, form)
    np.testing.assert_array_equal(target, again)
    np.testing.assert_allclose(np.sum(target, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("form", ["softmax", "symmetric"])
def test_a_batch_of_one_has_nothing_to_learn(form):
    row = np.array([[0.6, 0.8]], "f4")
    target = batch_diffusion(row, 0.5, form=form)
    np.testing.assert_array_equal(target, [[1]])
    np.testing.assert_array_equal(diffusion_kl(target, row), [0])


@pytest.mark.parametrize("form", ["softmax", "symmetric"])
@pytest.mark.parametrize("omega", [0.0, 0.5])
def test_the_teacher_gets_no_gradient_from_its_targets(form, omega):
    teacher = tf.Variable(np.eye(3, dtype="f4"))
    with tf.GradientTape() as tape:
        target = batch_diffusion(teacher, omega, form=form)
    assert tape.gradient(target, teacher) is None


# The divergence.


def test_the_divergence_is_the_formula_target_first():
    rng = np.random.default_rng(0)
    target, student = softmax(rng.normal(size=(5, 5))), 2 * rng.normal(size=(5, 3))
    q = softmax(student @ student.T / 0.7)  # rows as they come
    expected = [
        sum(target[i, j] * np.log(target[i, j] / q[i, j]) for j in range(5))
        for i in range(5)
    ]
    rows = diffusion_kl(target, student, 0.7)
    np.testing.assert_allclose(rows, expected, rtol=1e-4)


def test_a_student_that_is_its_teacher_learns_nothing_without_diffusion():
    student = tf.Variable(
        unit(np.random.default_rng(0).normal(size=(8, 4))), dtype="float32"
    )
    with tf.GradientTape() as tape:
        target = batch_diffusion(student, 0.0, 0.3)
        rows = diffusion_kl(target, student, 0.3)
    np.testing.assert_allclose(rows, 0, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(rows, student), 0, atol=1e-5)


def test_entries_that_round_to_zero_count_nothing():
    target = tf.Variable(np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]], "f4"))
    student = tf.Variable(np.eye(3, dtype="f4"))
    with tf.GradientTape() as tape:
        rows = diffusion_kl(target, student)
    log_q = np.log(softmax(np.eye(3)))
    expected = [-log_q[0, 0], np.log(0.5) - log_q[1, 1:].mean(), -log_q[2, 2]]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)
    to_student, to_target = tape.gradient(rows, [student, target])
    assert np.isfinite(to_student).all() and to_target is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"omega": 1.0}, r"\[0, 1\): at 1 the matrix .* no inverse.*omega=1.0"),
        ({"omega": -0.1}, r"\[0, 1\).*omega=-0.1"),
        ({"omega": float("nan")}, r"\[0, 1\).*omega=nan"),
        ({"tau": 0.0}, "positive and finite.*: tau=0.0"),
        ({"diffusion_tau": -1.0}, "positive and finite.*diffusion_tau=-1.0"),
        ({"form": "paper"}, "one of.*'softmax', 'symmetric'.*form='paper'"),
    ],
)
def test_refuses_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_diffusion(np.eye(3), **{"omega": 0.5, **arguments})
    with pytest.raises(ValueError, match=message):
        methods.OBDSD(**arguments)


def test_refuses_a_weight_below_zero_and_tensors_that_are_no_rows():
    with pytest.raises(ValueError, match="not negative.*weight=-1"):
        methods.OBDSD(weight=-1)
    with pytest.raises(ValueError, match=r"\(batch, dim\).*teacher.shape=\(3,\)"):
        batch_diffusion(np.ones(3), 0.5)
    with pytest.raises(ValueError, match=r"\(batch, dim\).*student.shape=\(3,\)"):
        diffusion_kl(np.eye(3), np.ones(3))
    with pytest.raises(ValueError, match="positive and finite.*tau=0"):
        diffusion_kl(np.eye(3), np.eye(3), 0)


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

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 6, 6, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 3).astype("i4")
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS)).repeat(2)


def student(extra=None, outputs=1, **dense):
    """A net small enough that tracing is all it costs."""
    images = keras.Input((6, 6, 1), name="image")
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(8, name="hidden", **dense)(x)
    x = layers.BatchNormalization(name="bn", momentum=0.5)(x)
    if extra is not None:
        x = extra(x)
    x = features = layers.ReLU(name="features")(x)
    x = layers.Dense(3, name="projection")(x)
    x = kd.layers.L2Normalization(name="embedding")(x)
    logits = layers.Dense(4, name="logits")(features)
    return keras.Model(images, [logits, x] if outputs > 1 else x)


def compiled(net, with_methods, optimizer=None, **kwargs):
    distiller = kd.Distiller(net, with_methods)
    # Without mining: the loss has no jumps that rounding could reach.
    loss = kd.losses.MultiSimilarity(epsilon=None)
    distiller.compile(optimizer or keras.optimizers.Adam(1e-2), loss, **kwargs)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]


def identical(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


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


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_term_is_that_of_the_copy_on_the_very_same_images(outputs):
    method = kd.OBDSD(weight=7.0, omega=0.5, tau=0.5, diffusion_tau=0.1)
    net = student(outputs=outputs)
    distiller = kd.Distiller(net, [method])
    distiller.compile("sgd")
    method.ramp.assign(0.25)
    drifted = [w + 0.1 * rng.normal(size=w.shape) ** 2 for w in net.get_weights()]
    method.snapshot.set_weights(drifted)
    inputs = {"image": IMAGES, "other": 0 * IMAGES}
    data = tf.data.Dataset.from_tensors((inputs, LABELS))
    logs = distiller.evaluate(data, verbose=0, return_dict=True)
    f, t = net(IMAGES), method.snapshot(IMAGES, training=False)
    f, t = keras.tree.flatten(f)[-1], keras.tree.flatten(t)[-1]
    rows = diffusion_kl(batch_diffusion(t, 0.5, 0.5, 0.1), f, 0.5)
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


# The copy.


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


def test_a_method_serves_one_student():
    method, net = kd.OBDSD(), student()
    kd.Distiller(net, [method])
    kd.Distiller(net, [method])
    with pytest.raises(ValueError, match="a new one for each.*student='functional"):
        kd.Distiller(student(), [method])


# Saving and resuming.


def test_copy_and_ramp_are_saved_with_the_distiller(tmp_path):
    distiller = compiled(student(), [kd.OBDSD()])
    distiller.fit(DATA, epochs=4, verbose=0)
    distiller.fit(DATA, initial_epoch=2, epochs=3, verbose=0)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    (ours,), (theirs,) = distiller.methods, loaded.methods
    assert float(theirs.ramp) == float(ours.ramp) == pytest.approx(2 / 3)
    assert int(theirs.taken) == 1
    identical(theirs.snapshot.get_weights(), ours.snapshot.get_weights())
    logs = [m.evaluate(DATA, verbose=0, return_dict=True) for m in (distiller, loaded)]
    assert logs[0] == logs[1]


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def test_an_interrupted_run_resumes_from_a_backup_bit_for_bit(tmp_path):
    def run(folder, callbacks=(), seed=7):
        keras.utils.set_random_seed(seed)
        distiller = compiled(student(), [kd.OBDSD()])
        backup = keras.callbacks.BackupAndRestore(tmp_path / folder)
        distiller.fit(DATA, epochs=4, verbose=0, callbacks=[backup, *callbacks])
        return distiller

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", [Interrupt(2, 0)])
    resumed = run("broken", seed=8)
    identical(values(whole.student), values(resumed.student))
    identical(values(whole.methods[0]), values(resumed.methods[0]))


def test_an_interrupted_run_resumes_from_its_weights_bit_for_bit(tmp_path):
    def make(seed=7):
        keras.utils.set_random_seed(seed)
        return compiled(student(), [kd.OBDSD()])

    whole = make()
    whole.fit(DATA, epochs=4, verbose=0)
    broken = make()
    with pytest.raises(KeyboardInterrupt):
        broken.fit(
            DATA,
            epochs=4,
            verbose=0,
            callbacks=[
                keras.callbacks.ModelCheckpoint(
                    tmp_path / "{epoch}.weights.h5", save_weights_only=True
                ),
                Interrupt(2, 1),
            ],
        )
    resumed = make(seed=8)
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "2.weights.h5")
    resumed.fit(DATA, initial_epoch=2, epochs=4, verbose=0)
    identical(values(whole.student), values(resumed.student))


# Replicas.


def test_two_replicas_make_the_update_of_one():
    program = """
        rng = np.random.default_rng(0)
        images = rng.uniform(-1, 1, (16, 5)).astype("f4")
        labels = np.tile(np.arange(4), 4).astype("i4")
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16).repeat(2)

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
