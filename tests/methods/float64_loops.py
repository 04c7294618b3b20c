"""Holds a function of float32 tensors against a formula written as float64 loops."""

import numpy as np
import tensorflow as tf


def is_the_formula(function, formula, teacher, student, rtol=1e-5):
    """Asserts that values and gradients agree, row by row.

    The gradient is that of a sum in which every row has another weight, so that rows
    that change places do not go unseen.
    """
    teacher = np.asarray(teacher, "float64")
    student = np.asarray(student, "float64")
    expected = formula(teacher, student)
    share = np.linspace(0.5, 1.5, expected.size).reshape(expected.shape)
    given, learning = tf.Variable(teacher), tf.Variable(student)
    with tf.GradientTape() as tape:
        values = function(given, learning)
        total = tf.reduce_sum(values * share.astype("f4"))
    assert values.dtype == "float32"
    np.testing.assert_allclose(values, expected, rtol=rtol, atol=1e-6)
    to_teacher, to_student = tape.gradient(total, [given, learning])
    assert to_teacher is None, "the teacher gets a gradient"
    slopes = _central_differences(
        lambda x: np.sum(formula(teacher, x) * share), student
    )
    atol = 1e-4 * np.abs(slopes).max()
    np.testing.assert_allclose(to_student, slopes, rtol=0, atol=atol)


def _central_differences(function, x, step=1e-6):
    slopes = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        slopes[index] = (function(x + moved) - function(x - moved)) / (2 * step)
    return slopes
