"""Distances and log-variances become the loss of the paper, finite for any of them."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import methods
from keras_distill.methods.adaptive_weighting import adaptive_weight, adaptive_weighting
from keras_distill.methods.rkd_distance import rkd_distance
from tests.methods.pad_cases import close_gradient


def weighed(file, distance):
    """Mean loss of the file's log-variances, with the tape that saw it."""
    log_variance = tf.Variable(file["log_var"].astype("f4"))
    with tf.GradientTape(persistent=True) as tape:
        values = adaptive_weighting(distance(tape), log_variance, float(file["eps"]))
        loss = tf.reduce_mean(values)
    return values, loss, log_variance, tape


def test_is_the_loss_of_the_paper_one_variance_a_dimension(reference):
    file = reference("pad_l2_perdim_eps1e-6")
    student = tf.Variable(file["student"].astype("f4"))
    values, loss, log_variance, tape = weighed(
        file, lambda _: methods.FeatureL2().distance(file["teacher"], student)
    )
    np.testing.assert_allclose(
        tf.reduce_mean(values, 1), file["per_sample"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5)
    weight = adaptive_weight(log_variance, float(file["eps"]))
    np.testing.assert_allclose(weight, file["weight"], rtol=1e-5, atol=1e-6)
    close_gradient(tape.gradient(loss, student), file["grad_student"])
    close_gradient(tape.gradient(loss, log_variance), file["grad_log_var"])


def test_weighs_any_distance_of_a_sample(reference):
    file = reference("pad_generic")  # one of the distances is 0
    distance = tf.Variable(file["distance"].astype("f4"))
    values, loss, log_variance, tape = weighed(file, lambda _: distance)
    np.testing.assert_allclose(values, file["per_sample"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5)
    weight = adaptive_weight(log_variance, float(file["eps"]))
    np.testing.assert_allclose(weight, file["weight"], rtol=1e-5, atol=1e-6)
    close_gradient(tape.gradient(loss, distance), file["grad_distance"])
    close_gradient(tape.gradient(loss, log_variance), file["grad_log_var"])


def test_weighs_the_rows_of_a_relational_distance(reference):
    file = reference("pad_rkd_rows")
    student = tf.Variable(file["student"].astype("f4"))
    values, loss, log_variance, tape = weighed(
        file, lambda _: rkd_distance(file["teacher"], student)
    )
    np.testing.assert_allclose(values, file["per_sample"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5, atol=1e-6)
    close_gradient(tape.gradient(loss, student), file["grad_student"])
    close_gradient(tape.gradient(loss, log_variance), file["grad_log_var"])


@pytest.mark.parametrize("epsilon", [1e-2, 1e-6, 1e-30, 0.0])
def test_no_uncertainty_is_too_small_or_too_large(epsilon):
    uncertainties = [-1e3, -40.0, -30.0, -12.0, 0.0, 12.0, 40.0, 45.0, 85.0, 1e3]
    s = np.repeat(uncertainties, 3)
    d = np.tile([0.0, 1e-6, 3.0], len(uncertainties))
    log_variance = tf.Variable(s.astype("f4"))
    distance = tf.Variable(d.astype("f4"))
    with tf.GradientTape() as tape:
        values = adaptive_weighting(distance, log_variance, epsilon)
    gradients = tape.gradient(values, [log_variance, distance])
    assert np.isfinite(values[d == 0]).all()
    assert np.isfinite(gradients).all()
    # Beside it float32 ends, if nothing limits the weight.
    inside = s >= (-1e3 if epsilon else -40)
    s, d = s[inside].astype("longdouble"), d[inside].astype("f4")
    quotient = d / (epsilon + np.exp(s))
    np.testing.assert_allclose(values[inside], quotient + s, rtol=1e-4, atol=1e-5)
    share = np.exp(s) / (epsilon + np.exp(s))
    close_gradient(gradients[0][inside], 1 - quotient * share)
    weight = 1 / (epsilon + np.exp(s))
    np.testing.assert_allclose(gradients[1][inside], weight, rtol=1e-4, atol=1e-30)


def test_the_best_uncertainty_is_the_distance_and_the_loss_is_negative():
    distance = np.array([1e-4, 0.01, 0.3], "f4")
    log_variance = tf.Variable(np.log(distance))
    with tf.GradientTape() as tape:
        values = adaptive_weighting(distance, log_variance, epsilon=0)
    np.testing.assert_allclose(tape.gradient(values, log_variance), 0, atol=1e-5)
    np.testing.assert_allclose(values, 1 + np.log(distance), rtol=1e-5)
    assert (np.array(values) < 0).all()


def test_computes_in_float32_and_keeps_the_shape_of_the_distance():
    values = adaptive_weighting(np.ones((2, 3), "f2"), np.full((2, 1), 12, "f2"))
    assert values.dtype == "float32"
    np.testing.assert_allclose(values, np.full((2, 3), np.exp(-12) + 12), rtol=1e-6)
    with pytest.raises(ValueError, match=r"no more axes.*shape=\(4, 1\).*shape=\(4,\)"):
        adaptive_weighting(np.ones(4), np.zeros((4, 1)))
