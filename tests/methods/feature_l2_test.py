"""FeatureL2 compares number with number."""

import numpy as np
import pytest

from keras_distill import methods
from keras_distill.methods.feature_l2 import feature_l2
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.FeatureL2(
        weight=3.0,
        student_layer="pooled",
        teacher_layer="pooled",
        teacher_dim=8,
        name="other",
    )
]

rng = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3, 2)], ids=["rows", "maps"])
def test_is_the_squared_difference_of_every_number(shape):
    teacher, student = rng.normal(size=(2, *shape))

    def formula(t, s):
        values = np.zeros(shape)
        for index in np.ndindex(shape):
            values[index] = (t[index] - s[index]) ** 2
        return values

    is_the_formula(feature_l2, formula, teacher, student)


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3, 2)], ids=["rows", "maps"])
def test_the_term_is_the_mean_of_squares_not_a_norm(shape):
    teacher, student = rng.normal(size=(2, *shape)).astype("f4")
    rows = {"teacher": teacher, "student": student}
    batch = methods.Batch(None, None, None, rows)
    term = methods.FeatureL2().terms(batch)["distance"]
    assert term.values.shape == shape[:1]
    expected = np.mean((teacher - student) ** 2)
    np.testing.assert_allclose(term.mean(), expected, rtol=1e-5)
    assert float(term.weight) == 15.0


def test_what_pad_weighs_is_every_dimension():
    teacher, student = rng.normal(size=(2, 4, 3)).astype("f4")
    term = methods.FeatureL2()
    distance, features, mask = term.compare({"teacher": teacher, "student": student})
    assert term.per_dim and distance.shape == (4, 3) and mask is None
    np.testing.assert_array_equal(features, student)


def test_is_zero_for_equal_features_and_grows_with_their_scale():
    teacher, student = rng.normal(size=(2, 4, 3))
    assert np.max(feature_l2(teacher, teacher)) == 0
    np.testing.assert_allclose(
        feature_l2(10 * teacher, 10 * student),
        100 * np.array(feature_l2(teacher, student)),
        rtol=1e-4,
    )


@pytest.mark.parametrize(
    "teacher, student",
    [((4, 1), (4, 3)), ((4, 1, 1, 3), (4, 2, 2, 3)), ((4, 3), (4, 3, 4, 3))],
    ids=["widths", "grids", "rows and maps"],
)
def test_refuses_what_would_broadcast(teacher, student):
    with pytest.raises(ValueError, match=r"one shape.*teacher.shape=\(4, .*student.sh"):
        feature_l2(np.zeros(teacher), np.zeros(student))
