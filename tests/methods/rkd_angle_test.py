"""RKDAngle keeps the angles between images."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import methods
from keras_distill.methods.rkd_angle import rkd_angle
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.RKDAngle(
        weight=3.0, student_layer="pooled", teacher_layer="pooled", name="other"
    )
]

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))


def cosine(x, i, j, k):
    """Of the angle at `i`; `None` where there is none."""
    a, b = x[j] - x[i], x[k] - x[i]
    if not (np.any(a) and np.any(b)):
        return None
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def by_hand(teacher, student):
    count = len(teacher)
    values = np.zeros(count)
    for i, j, k in np.ndindex(count, count, count):
        angles = cosine(teacher, i, j, k), cosine(student, i, j, k)
        if None not in angles:
            gap = abs(angles[0] - angles[1])
            values[i] += gap**2 / 2 if gap <= 1 else gap - 0.5
    return values / count**2


def test_is_the_formula_with_the_image_at_the_vertex():
    is_the_formula(rkd_angle, by_hand, TEACHER, STUDENT)


def test_the_mean_is_that_of_the_authors_code():
    cosines = []
    for x in (TEACHER, STUDENT):
        legs = x[None] - x[:, None]
        lengths = np.linalg.norm(legs, axis=-1, keepdims=True)
        unit = legs / np.where(lengths > 0, lengths, 1)
        cosines.append(np.einsum("ijd,ikd->ijk", unit, unit))
    gaps = np.abs(cosines[0] - cosines[1])
    authors = np.where(gaps < 1, gaps**2 / 2, gaps - 0.5).mean()
    np.testing.assert_allclose(np.mean(rkd_angle(TEACHER, STUDENT)), authors, rtol=1e-5)


def test_a_right_angle_against_a_straight_one():
    corner = np.array([[0.0, 0], [1, 0], [0, 1]])
    line = np.array([[0.0], [1], [-1]])
    # At the corner 0 against -1, twice of nine; at the ends cos 45 degrees against 1.
    ends = (1 - np.sqrt(0.5)) ** 2 / 2
    expected = np.array([0.5, ends, ends]) * 2 / 9
    np.testing.assert_allclose(rkd_angle(corner, line), expected, rtol=1e-5)


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("scale, offset", [(1e-4, 0.0), (1e4, 0.0), (1.0, 100.0)])
def test_does_not_see_scale_rotation_or_place(side, scale, offset):
    inputs = {"teacher": TEACHER, "student": STUDENT}
    plain = rkd_angle(**inputs)
    rotation, _ = np.linalg.qr(rng.normal(size=[inputs[side].shape[1]] * 2))
    inputs[side] = scale * inputs[side] @ rotation + offset
    np.testing.assert_allclose(rkd_angle(**inputs), plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", ["teacher", "student", "both"])
def test_triples_with_equal_points_count_nothing(side):
    teacher, student = TEACHER.copy(), STUDENT.copy()
    if side != "student":
        teacher[3] = teacher[1]
    if side != "teacher":
        student[3] = student[1]
    learning = tf.Variable(student)
    with tf.GradientTape() as tape:
        values = rkd_angle(teacher, learning)
        alone = values[1]
    np.testing.assert_allclose(values, by_hand(teacher, student), rtol=1e-5)
    assert np.isfinite(tape.gradient(alone, learning)).all()


def test_a_batch_of_two_has_no_angles():
    np.testing.assert_array_equal(rkd_angle(TEACHER[:2], STUDENT[:2]), [0, 0])


@pytest.mark.parametrize("jitter", [0, 1e-7])
def test_a_student_of_equal_rows_gets_no_gradient(jitter):
    # 1e-7 is what different places in a matrix product make of equal images.
    row = rng.normal(size=(1, 64)) * (1 + jitter * rng.uniform(-1, 1, (5, 64)))
    student = tf.Variable(np.broadcast_to(row, (5, 64)), dtype="float32")
    with tf.GradientTape() as tape:
        values = rkd_angle(TEACHER, student)
    np.testing.assert_array_equal(values, np.zeros(5))
    np.testing.assert_array_equal(tape.gradient(values, student), np.zeros((5, 64)))


def test_refuses_maps():
    with pytest.raises(ValueError, match=r"\(batch, dim\).*teacher.shape=\(5, 2, 2, 3"):
        rkd_angle(np.zeros((5, 2, 2, 3)), STUDENT)
