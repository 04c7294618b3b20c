"""Soft targets and divergence are those of the authors, whatever the batch."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_distill import methods
from keras_distill.methods.batch_diffusion import batch_diffusion, diffusion_kl


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
    teacher = np.random.default_rng(0).normal(size=(6, 4))  # rows as they come
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


def test_the_divergence_knows_how_impossible_the_impossible_is():
    # Rows at 120 degrees are alike by e^-150, which is 0 in float32.
    tau, apart = 0.01, np.array([[1.0, 0.0], [-0.5, 0.75**0.5]], "f4")
    student = tf.Variable(apart)
    with tf.GradientTape() as tape:
        rows = diffusion_kl(np.full((2, 2), 0.5), student, tau)
    np.testing.assert_allclose(rows, 150 / 2 - np.log(2), rtol=1e-5)
    expected = (apart - apart[::-1]) / tau
    np.testing.assert_allclose(tape.gradient(rows, student), expected, rtol=1e-4)


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


# What is refused.


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
