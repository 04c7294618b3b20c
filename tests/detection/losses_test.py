"""The losses of detectors, by their formulas."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.detection import sigmoid_focal, smooth_l1

LOGITS = np.array([-3.0, -0.5, 0.0, 2.0])


def test_focal_is_the_formula():
    for target in (0, 1):
        p = 1 / (1 + np.exp(-LOGITS))
        p_t = p if target else 1 - p
        share = 0.3 if target else 0.7
        expected = -share * (1 - p_t) ** 1.5 * np.log(p_t)
        got = sigmoid_focal(LOGITS, np.full(4, target), alpha=0.3, gamma=1.5)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_without_focus_it_is_cross_entropy():
    got = 2 * np.asarray(sigmoid_focal(LOGITS, np.ones(4), alpha=0.5, gamma=0.0))
    np.testing.assert_allclose(got, np.log1p(np.exp(-LOGITS)), rtol=1e-5)


def test_extreme_logits_stay_finite():
    got = np.asarray(sigmoid_focal([-200.0, 200.0], [1, 1]))
    np.testing.assert_allclose(got, [0.25 * 200, 0], atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_so_do_their_slopes(gamma):
    logits = tf.constant([-300.0, -120.0, 0.0, 120.0, 300.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = sigmoid_focal(logits, tf.ones(5), gamma=gamma)
    slopes = np.asarray(tape.gradient(loss, logits))
    np.testing.assert_allclose(slopes[[0, 1, 3, 4]], [-0.25, -0.25, 0, 0], atol=1e-5)


def test_smooth_l1_by_hand():
    got = smooth_l1(np.array([-2.0, -0.25, 0.0, 0.5]), threshold=0.5)
    np.testing.assert_allclose(got, [1.75, 0.0625, 0, 0.25])
