"""Prototype selection: the authors' figures, the formula in loops, and what is tiny."""

import numpy as np
import pytest

from keras_distill.methods.global_knowledge import select_prototypes
from keras_distill.methods.prototypes import dense, density, pursue

CASES = ["gk_pgm_a", "gk_pgm_c"]
rng = np.random.default_rng(0)


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def grams(*sides):
    return [(unit(side) @ unit(side).T).astype("f4") for side in sides]


def by_hand(student, teacher, candidates, count, coupling):
    """The pursuit by explicit residuals and solved normal equations, in float64.

    Atoms need not have length one here: the general closed form is that of a two by
    two system.
    """
    atoms = unit(student), unit(teacher)
    residuals = [atoms[0].copy(), atoms[1].copy()]
    chosen, objectives = [], []
    for _ in range(count):
        found = []
        for k in candidates:
            s, t = atoms[0][k], atoms[1][k]
            matrix = [[s @ s + coupling, -coupling], [-coupling, t @ t + coupling]]
            right = np.stack([residuals[0] @ s, residuals[1] @ t])
            w = np.linalg.solve(matrix, right)  # (2, N)
            left = [
                r - np.outer(w[i], a)
                for i, (r, a) in enumerate(zip(residuals, (s, t), strict=True))
            ]
            value = sum(np.sum(x**2) for x in left)
            found.append((value + coupling * np.sum((w[0] - w[1]) ** 2), left))
        best = int(np.argmin([value for value, _ in found]))
        objectives.append([value for value, _ in found])
        residuals = found[best][1]
        chosen.append(candidates[best])
    return chosen, np.array(objectives)


@pytest.mark.parametrize("case", CASES)
def test_chooses_what_the_authors_code_chooses(reference, case):
    r = reference(case)
    chosen = select_prototypes(
        r["student_feats"],
        r["teacher_feats"],
        int(r["num_prototypes"]),
        float(r["alpha"]),
        float(r["density_bandwidth"]),
        float(r["density_quantile"]),
    )
    assert chosen.dtype == np.int32
    np.testing.assert_array_equal(chosen, r["selected"])
    assert len(set(chosen.tolist())) < len(chosen)  # repeats are part of the method
    for side in ("student", "teacher"):  # raw rows, not normalised
        expected = r[f"prototypes_{side}"]
        np.testing.assert_array_equal(r[f"{side}_feats"][chosen], expected)


@pytest.mark.parametrize("case", CASES)
def test_densities_and_candidates_are_the_authors(reference, case):
    r = reference(case)
    passed = []
    for side in ("student", "teacher"):
        (gram,) = grams(r[f"{side}_feats"])
        values = density(gram, float(r["density_bandwidth"]))
        np.testing.assert_allclose(values, r[f"density_{side}"], rtol=1e-4)
        passed.append(dense(values, float(r["density_quantile"])))
        assert not passed[-1][np.isclose(values, r[f"density_threshold_{side}"])].any()
    np.testing.assert_array_equal(
        np.flatnonzero(passed[0] & passed[1]), r["candidates"]
    )


@pytest.mark.parametrize("case", CASES)
def test_every_step_is_the_authors(reference, case):
    r = reference(case)
    steps = pursue(
        *grams(r["student_feats"], r["teacher_feats"]),
        r["candidates"],
        int(r["num_prototypes"]),
        float(r["alpha"]),
    )
    np.testing.assert_array_equal(steps.indices, r["selected"])
    for side, found in (("student", steps.student), ("teacher", steps.teacher)):
        np.testing.assert_allclose(found, r[f"coef_{side}"], rtol=1e-4, atol=1e-5)
        rows = unit(r[f"{side}_feats"])
        for step, k in enumerate(steps.indices):
            rows = rows - np.outer(found[step], unit(r[f"{side}_feats"])[k])
            expected = r[f"residual_sq_{side}"][step]
            np.testing.assert_allclose(np.sum(rows**2), expected, rtol=1e-4)
        np.testing.assert_allclose(rows.T, r[f"residual_{side}"], atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_the_cheap_rule_is_the_least_objective(reference, case):
    r = reference(case)
    features = r["student_feats"], r["teacher_feats"]
    count, coupling = int(r["num_prototypes"]), float(r["alpha"])
    chosen, objectives = by_hand(*features, r["candidates"], count, coupling)
    np.testing.assert_allclose(objectives, r["objective_per_candidate"], rtol=1e-4)
    np.testing.assert_array_equal(chosen, r["selected"])


@pytest.mark.parametrize("coupling", [0.0, 0.3, 10.0, 1e4])
def test_is_the_formula_on_other_features(coupling):
    student, teacher = rng.normal(size=(40, 6)), rng.normal(size=(40, 9))
    chosen = select_prototypes(student, teacher, 12, coupling, quantile=None)
    expected, _ = by_hand(student, teacher, np.arange(40), 12, coupling)
    np.testing.assert_array_equal(chosen, expected)


def test_scaling_rows_changes_nothing():
    student, teacher = rng.normal(size=(50, 6)), rng.normal(size=(50, 9))
    scale = rng.uniform(0.01, 100, (50, 1))
    plain = select_prototypes(student, teacher)
    np.testing.assert_array_equal(select_prototypes(scale * student, teacher), plain)


def test_a_strong_coupling_is_a_pursuit_on_both_features_side_by_side():
    student, teacher = unit(rng.normal(size=(50, 6))), unit(rng.normal(size=(50, 9)))
    both = np.concatenate([student, teacher], axis=1)
    tied = select_prototypes(student, teacher, coupling=1e5, quantile=None)
    joint = select_prototypes(both, both, coupling=0.0, quantile=None)
    np.testing.assert_array_equal(tied, joint)


def test_few_candidates_alternate():
    a, b, c = np.eye(3)
    student = np.stack([a, a + 0.01 * b, b, b + 0.002 * c, c])
    chosen = select_prototypes(student, student, count=7)
    assert len(chosen) == 7 and set(chosen.tolist()) == {2, 3}


@pytest.mark.parametrize("rows", [1, 2])
def test_a_tiny_class_gives_each_of_its_instances(rows):
    student, teacher = rng.normal(size=(rows, 4)), rng.normal(size=(rows, 3))
    chosen = select_prototypes(student, teacher, count=10)
    assert sorted(chosen.tolist()) == list(range(rows))


def test_equal_instances_pass_no_filter_and_still_give_prototypes():
    same = np.ones((6, 4))
    assert not dense(density(*grams(same)), 0.4).any()
    assert select_prototypes(same, same, count=3).shape == (3,)
    assert select_prototypes(same, same, count=10).shape == (6,)


def test_densities_that_contradict_each_other_leave_all_as_candidates():
    """What is dense for the student is scattered for the teacher."""
    close, far = np.ones((4, 8)) + 0.01 * rng.normal(size=(4, 8)), np.eye(8)[:4]
    student, teacher = np.concatenate([close, -far]), np.concatenate([far, close])
    chosen = select_prototypes(student, teacher, count=10)
    assert len(chosen) == 8  # and not 10: each may come once, on average
    assert select_prototypes(student, teacher, count=3).shape == (3,)


def test_no_instances_give_no_prototypes():
    assert select_prototypes(np.zeros((0, 4)), np.zeros((0, 3))).shape == (0,)


def test_a_row_of_zeros_is_no_catastrophe():
    student = rng.normal(size=(20, 4))
    student[3] = 0
    chosen = select_prototypes(student, student)
    assert chosen.shape == (10,) and 3 not in chosen


def test_half_precision_features_are_not_computed_with_in_half_precision():
    student = rng.normal(size=(200, 16)).astype("f2")
    teacher = rng.normal(size=(200, 24)).astype("f2")
    chosen = select_prototypes(student, teacher, 40, quantile=None)
    exact = student.astype("f8"), teacher.astype("f8")
    expected, _ = by_hand(*exact, np.arange(200), 40, 10.0)
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"student": np.zeros((4, 2, 2))}, r"\(N, dim\).*student.shape=\(4, 2, 2\)"),
        ({"teacher": np.zeros((3, 2))}, r"same N instances.*teacher.shape=\(3, 2\)"),
        ({"teacher": np.full((4, 2), np.nan)}, "finite, and 4 rows are not"),
        ({"count": 0}, "integer, 1 or more.*count=0"),
        ({"coupling": -1.0}, "not negative.*coupling=-1.0"),
        ({"bandwidth": 0.0}, "positive and finite.*bandwidth=0.0"),
        ({"quantile": 1.0}, "below 1.*quantile=1.0"),
        ({"quantile": -0.1}, "not negative.*quantile=-0.1"),
    ],
)
def test_refuses_and_says_what_it_got(change, message):
    arguments = {"student": np.ones((4, 2)), "teacher": np.ones((4, 2)), **change}
    with pytest.raises(ValueError, match=message):
        select_prototypes(**arguments)
