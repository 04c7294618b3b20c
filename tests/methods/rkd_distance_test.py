"""RKDDistance keeps relative distances."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import methods
from keras_distill.methods.rkd_distance import huber, rkd_distance
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.RKDDistance(
        weight=3.0, student_layer="pooled", teacher_layer="pooled", name="other"
    )
]

rng = np.random.default_rng(0)
TEACHER, STUDENT = rng.normal(size=(6, 5)), rng.normal(size=(6, 3))


def by_hand(teacher, student):
    count = len(teacher)
    relative = []
    for x in (teacher, student):
        lengths = np.array([[np.linalg.norm(a - b) for a in x] for b in x])
        mean = lengths.sum() / max(count * (count - 1), 1)
        relative.append(lengths / mean if mean > 0 else lengths)
    values = []
    for i in range(count):
        row = []
        for j in set(range(count)) - {i}:
            gap = abs(relative[0][i, j] - relative[1][i, j])
            row.append(gap**2 / 2 if gap <= 1 else gap - 0.5)
        values.append(np.mean(row) if row else 0.0)
    return np.array(values)


def test_is_the_formula():
    is_the_formula(rkd_distance, by_hand, TEACHER, STUDENT)


def test_is_the_formula_where_the_huber_loss_is_linear():
    student = STUDENT.copy()
    student[0] *= 30
    is_the_formula(rkd_distance, by_hand, TEACHER, student)


def test_is_the_reference_in_value_and_gradient(reference):
    file = reference("pad_rkd_rows")
    student = tf.Variable(file["student"])
    with tf.GradientTape() as tape:
        distance = rkd_distance(file["teacher"], student)
        variance = file["eps"] + np.exp(file["log_var"])
        loss = tf.reduce_mean(distance / variance + file["log_var"])
    np.testing.assert_allclose(distance, file["distance"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(loss, student), file["grad_student"], rtol=1e-4, atol=1e-6
    )


def test_the_mean_over_the_whole_matrix_is_that_of_the_authors_code():
    # Theirs: smooth L1 of the matrices, mean over B * B entries, diagonal included.
    lengths = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (TEACHER, STUDENT)]
    relative = [d / d[d > 0].mean() for d in lengths]
    gaps = np.abs(relative[0] - relative[1])
    authors = np.where(gaps < 1, gaps**2 / 2, gaps - 0.5).mean()
    ours = np.mean(rkd_distance(TEACHER, STUDENT))
    np.testing.assert_allclose(ours * 5 / 6, authors, rtol=1e-5)


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("scale, offset", [(1e-4, 0.0), (1e4, 0.0), (1.0, 100.0)])
def test_does_not_see_scale_rotation_or_place(side, scale, offset):
    inputs = {"teacher": TEACHER, "student": STUDENT}
    plain = rkd_distance(**inputs)
    rotation, _ = np.linalg.qr(rng.normal(size=[inputs[side].shape[1]] * 2))
    inputs[side] = scale * inputs[side] @ rotation + offset
    np.testing.assert_allclose(rkd_distance(**inputs), plain, rtol=5e-4, atol=1e-6)


def test_is_zero_for_a_similar_copy_in_more_dimensions():
    wide = np.concatenate([3 * TEACHER, np.ones((6, 4))], axis=1)
    np.testing.assert_allclose(rkd_distance(TEACHER, wide), 0, atol=1e-9)


def test_equal_rows_are_at_distance_0():
    # From inner products they would be at 1e-3 of their length, by rounding.
    teacher, rows = rng.normal(size=(16, 5)), rng.normal(size=(8, 512))
    student = np.concatenate([rows, rows])
    values = rkd_distance(teacher, student)
    np.testing.assert_allclose(values, by_hand(teacher, student), rtol=1e-5)


@pytest.mark.parametrize("jitter", [0, 1e-7])
def test_a_student_of_equal_rows_gets_no_gradient(jitter):
    # 1e-7 is what different places in a matrix product make of equal images.
    row = rng.normal(size=(1, 64)) * (1 + jitter * rng.uniform(-1, 1, (6, 64)))
    student = tf.Variable(np.broadcast_to(row, (6, 64)), dtype="float32")
    with tf.GradientTape() as tape:
        values = rkd_distance(TEACHER, student)
    expected = by_hand(TEACHER, np.zeros((6, 1)))
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    np.testing.assert_array_equal(tape.gradient(values, student), np.zeros((6, 64)))


def test_huber_is_a_parabola_up_to_1_and_a_line_beyond():
    np.testing.assert_allclose(
        huber(np.array([-3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], "f4")),
        [2.5, 0.5, 0.125, 0.0, 0.125, 0.5, 2.5],
    )


@pytest.mark.parametrize(
    "teacher, student, message",
    [
        ((4, 3), (4, 2, 2, 3), r"\(batch, dim\).*student.shape=\(4, 2, 2, 3\)"),
        ((4, 3), (5, 3), r"same batch.*teacher.shape=\(4, 3\).*\(5, 3\)"),
    ],
)
def test_refuses_and_says_what_it_got(teacher, student, message):
    with pytest.raises(ValueError, match=message):
        rkd_distance(np.zeros(teacher), np.zeros(student))
