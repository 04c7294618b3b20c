"""SimilarityPreserving compares whom each image activates like."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import methods
from keras_distill.methods.similarity_preserving import similarity_preserving
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.SimilarityPreserving(
        weight=3.0, student_layer="pooled", teacher_layer="pooled", name="other"
    )
]

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))


def by_hand(teacher, student):
    grams = []
    for x in (teacher, student):
        gram = np.array([[np.sum(a * b) for b in x] for a in x])
        grams.append(np.array([row / np.linalg.norm(row) for row in gram]))
    return np.array([np.mean((t - s) ** 2) for t, s in zip(*grams, strict=True)])


def test_is_the_formula():
    is_the_formula(similarity_preserving, by_hand, TEACHER, STUDENT)


def test_maps_are_flattened():
    student = rng.normal(size=(5, 2, 3, 2))
    is_the_formula(similarity_preserving, by_hand, TEACHER, student)


def test_the_mean_is_the_papers_loss():
    grams = [x @ x.T for x in (TEACHER, STUDENT)]
    unit = [g / np.linalg.norm(g, axis=1, keepdims=True) for g in grams]
    expected = np.linalg.norm(unit[0] - unit[1], "fro") ** 2 / 5**2
    ours = np.mean(similarity_preserving(TEACHER, STUDENT))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_does_not_see_scale_or_rotation(side, scale):
    inputs = {"teacher": TEACHER, "student": STUDENT}
    plain = similarity_preserving(**inputs)
    rotation, _ = np.linalg.qr(rng.normal(size=[inputs[side].shape[1]] * 2))
    inputs[side] = scale * inputs[side] @ rotation
    np.testing.assert_allclose(similarity_preserving(**inputs), plain, rtol=1e-4)


def test_is_at_most_4_over_the_batch():
    teacher = np.array([[1.0], [-1.0]])
    student = np.array([[1.0], [1.0]])
    values = similarity_preserving(teacher, student)
    np.testing.assert_allclose(values, [1.0, 1.0], rtol=1e-6)
    assert np.max(similarity_preserving(TEACHER, STUDENT)) <= 4 / 5


def test_an_image_without_activation_gets_no_gradient():
    student = STUDENT.copy()
    student[2] = 0
    learning = tf.Variable(student)
    with tf.GradientTape() as tape:
        values = similarity_preserving(TEACHER, learning)
        alone = values[2]
    gram = TEACHER @ TEACHER[2]
    expected = np.mean(np.square(gram / np.linalg.norm(gram)))
    np.testing.assert_allclose(alone, expected, rtol=1e-5)
    np.testing.assert_array_equal(tape.gradient(alone, learning), np.zeros((5, 3)))


def test_refuses_another_batch():
    with pytest.raises(ValueError, match=r"same batch.*\(5, 4\).*\(4, 3\)"):
        similarity_preserving(TEACHER, STUDENT[:4])
