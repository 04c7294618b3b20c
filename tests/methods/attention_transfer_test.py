"""AttentionTransfer compares where teacher and student are active."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import methods
from keras_distill.methods.attention_transfer import (
    attention_rows,
    attention_transfer,
)
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.AttentionTransfer(
        weight=3.0, student_layer="other", teacher_layer="other", name="other"
    )
]

rng = np.random.default_rng(0)


def fine(x, height, width):
    """Repeats cells until both grids divide: area averages need nothing else."""
    return x.repeat(height, axis=0).repeat(width, axis=1)


def by_hand(teacher, student):
    height = min(teacher.shape[1], student.shape[1])
    width = min(teacher.shape[2], student.shape[2])
    values = []
    for pair in zip(teacher, student, strict=True):
        attention = []
        for x in pair:
            q = np.mean(x**2, axis=-1)
            q = fine(q, height, width)  # (h * height, w * width)
            rows, columns = q.shape[0] // height, q.shape[1] // width
            cells = [
                q[a * rows : (a + 1) * rows, b * columns : (b + 1) * columns].mean()
                for a in range(height)
                for b in range(width)
            ]
            attention.append(np.array(cells) / np.linalg.norm(cells))
        values.append(np.mean((attention[0] - attention[1]) ** 2))
    return np.array(values)


@pytest.mark.parametrize(
    "teacher, student",
    [
        ((3, 3, 2), (3, 3, 4)),
        ((4, 6, 2), (2, 3, 2)),
        ((2, 2, 3), (4, 4, 1)),
        ((7, 7, 1), (4, 4, 2)),
        ((5, 2, 2), (3, 4, 2)),
    ],
    ids=["equal", "half", "finer student", "7 to 4", "each way"],
)
def test_is_the_formula_on_the_coarser_grid(teacher, student):
    teacher, student = rng.normal(size=(2, *teacher)), rng.normal(size=(2, *student))
    is_the_formula(attention_transfer, by_hand, teacher, student)


def test_the_authors_code_is_the_mean_over_images_and_cells():
    teacher, student = rng.normal(size=(2, 4, 3, 3, 5))
    rows = []
    for x in (teacher, student):
        q = np.mean(x**2, axis=-1).reshape(4, -1)
        rows.append(q / np.linalg.norm(q, axis=1, keepdims=True))
    expected = np.mean((rows[0] - rows[1]) ** 2)
    ours = np.mean(attention_transfer(teacher, student))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_does_not_see_scale_or_the_order_of_channels():
    teacher, student = rng.normal(size=(2, 4, 3, 3, 5))
    scale = np.array([1e-3, 1e3, 1.0, 5.0]).reshape(4, 1, 1, 1)
    np.testing.assert_allclose(
        attention_transfer(teacher * scale, student[..., ::-1] / scale),
        attention_transfer(teacher, student),
        rtol=1e-4,
    )


def test_attention_has_length_1_and_is_nowhere_negative():
    rows = attention_rows(rng.normal(size=(4, 6, 6, 2)), rng.normal(size=(4, 4, 4, 3)))
    for x in rows:
        assert x.shape == (4, 16) and np.min(x) >= 0
        np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)


def test_is_at_most_2_over_the_cells():
    one = np.zeros((1, 2, 2, 1))
    other = one.copy()
    one[0, 0, 0], other[0, 1, 1] = 1, 1
    np.testing.assert_allclose(attention_transfer(one, other), [2 / 4])


def test_an_image_without_activation_gets_no_gradient():
    teacher, student = rng.normal(size=(2, 3, 2, 2, 2))
    student[1] = 0
    learning = tf.Variable(student)
    with tf.GradientTape() as tape:
        values = attention_transfer(teacher, learning)
    np.testing.assert_allclose(values[1], 1 / 4, rtol=1e-5)
    gradient = np.array(tape.gradient(values, learning))
    assert np.all(gradient[1] == 0) and np.any(gradient[0])


def test_half_precision_maps_are_squared_in_float32():
    teacher, student = rng.normal(size=(2, 3, 2, 2, 4)).astype("f2")
    plain = attention_transfer(teacher, student)
    large = attention_transfer(teacher * np.float16(1000), student)
    np.testing.assert_allclose(large, plain, rtol=1e-2)


def test_only_the_attention_leaves_a_replica():
    term = methods.AttentionTransfer()
    maps = {"features": rng.normal(size=(3, 4, 4, 8))}
    rows = term.rows(methods.Views(None, maps, None, {"features": maps["features"]}))
    assert {name: x.shape for name, x in rows.items()} == {
        "teacher": (3, 16),
        "student": (3, 16),
    }


@pytest.mark.parametrize(
    "teacher, student, message",
    [
        ((2, 3), (2, 2, 2, 3), r"`teacher` must be maps.*teacher.shape=\(2, 3\)"),
        ((2, 2, 2, 3), (2, 3), r"`student` must be maps.*student.shape=\(2, 3\)"),
        ((2, 2, 2, 3), (3, 2, 2, 3), "same batch"),
    ],
)
def test_refuses_what_is_no_map(teacher, student, message):
    with pytest.raises(ValueError, match=message):
        attention_transfer(np.zeros(teacher), np.zeros(student))


def test_refuses_a_grid_that_is_not_known():
    unknown = keras.KerasTensor((2, None, 4, 3))
    with pytest.raises(ValueError, match=r"h and w known.*\(2, None, 4, 3\)"):
        attention_transfer(unknown, unknown)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_names_the_layer_that_gives_no_maps(side):
    student, teacher = (
        kd.models.embedder("separable", (16, 16, 1), dim=3) for _ in range(2)
    )
    term = methods.AttentionTransfer(**{f"{side}_layer": "pooled"})
    message = rf"`{side}_layer`.*{side}_layer='pooled', which gives \(None, \d+\)"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(student, [term], teacher=teacher)
