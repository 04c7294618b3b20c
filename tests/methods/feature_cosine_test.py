"""FeatureCosine compares directions, not lengths."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import methods
from keras_distill.methods.feature_cosine import feature_cosine
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.FeatureCosine(
        weight=3.0,
        student_layer="pooled",
        teacher_layer="pooled",
        teacher_dim=8,
        name="other",
    )
]

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(size=(2, 5, 3))


def by_hand(teacher, student):
    values = []
    for t, s in zip(teacher, student, strict=True):
        t, s = t.reshape(-1, t.shape[-1]), s.reshape(-1, s.shape[-1])
        cells = [
            1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            for a, b in zip(t, s, strict=True)
        ]
        values.append(np.mean(cells))
    return np.array(values)


def test_is_one_minus_the_cosine():
    is_the_formula(feature_cosine, by_hand, TEACHER, STUDENT)


def test_maps_are_compared_cell_by_cell():
    teacher, student = rng.normal(size=(2, 3, 2, 2, 4))
    is_the_formula(feature_cosine, by_hand, teacher, student)


def test_does_not_see_lengths():
    lengths = np.array([[1e-3], [1e3], [1.0], [7.0], [0.2]])
    np.testing.assert_allclose(
        feature_cosine(TEACHER * lengths, STUDENT / lengths),
        feature_cosine(TEACHER, STUDENT),
        rtol=1e-4,
    )


def test_is_never_negative():
    rows = rng.normal(size=(200, 8))
    values = np.array(feature_cosine(rows, rows))
    assert values.min() >= 0 and values.max() < 1e-6
    np.testing.assert_allclose(feature_cosine(rows, -rows), 2.0, rtol=1e-6)


@pytest.mark.parametrize("zero", ["teacher", "student", "both"])
def test_a_row_of_zeros_has_distance_1_and_gives_no_gradient(zero):
    teacher = TEACHER * (zero == "student")
    student = tf.Variable(STUDENT * (zero == "teacher"))
    with tf.GradientTape() as tape:
        values = feature_cosine(teacher, student)
    np.testing.assert_array_equal(values, np.ones(5, "f4"))
    np.testing.assert_array_equal(tape.gradient(values, student), np.zeros((5, 3)))


def test_refuses_what_would_broadcast():
    with pytest.raises(ValueError, match=r"one shape.*\(5, 3\).*\(5, 1\)"):
        feature_cosine(TEACHER, STUDENT[:, :1])
