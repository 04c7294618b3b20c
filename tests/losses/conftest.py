"""What the tests of the losses share: comparing with a reference implementation."""

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def equals_reference(reference):
    """Holds a loss to a reference file: its value, and its gradient to each input.

    `formula(figures, *inputs)` gets the file's figures and a variable for each name in
    `inputs`, and returns rows or a scalar. Tolerances are those stated with the
    figures: 2e-5 of the value, 1e-4 of the largest entry of a gradient.
    """

    def check(name, formula, *inputs, loss="out_loss", prefix="in_"):
        figures = reference(name)
        variables = [tf.Variable(figures[prefix + key]) for key in inputs]
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(formula(figures, *variables))
        expected = figures[loss]
        np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)
        gradients = tape.gradient(value, variables)
        for key, gradient in zip(inputs, gradients, strict=True):
            expected = figures[f"grad_{key}"]
            room = 1e-4 * np.abs(expected).max() + 1e-8
            np.testing.assert_allclose(gradient, expected, rtol=0, atol=room)

    return check
