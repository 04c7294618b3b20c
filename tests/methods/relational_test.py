"""RelationalKL teaches whom each image resembles, whatever the teacher's width."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import methods

EXAMPLES = [
    methods.RelationalKL(
        weight=3.0,
        temperature=0.5,
        student_layer="pooled",
        teacher_layer="pooled",
        name="other",
    )
]

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (16, 16, 16, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 4)


def by_hand(teacher, student, t):
    """The mean over rows of KL(teacher || student), in float64 loops."""
    rows = []
    for i in range(len(teacher)):
        both = []
        for e in (teacher, student):
            e = e.astype("float64")
            cosines = [e[i] @ x / np.linalg.norm(e[i]) / np.linalg.norm(x) for x in e]
            p = np.exp(np.array(cosines) / t)
            both.append(p / p.sum())
        rows.append(t**2 * np.sum(both[0] * np.log(both[0] / both[1])))
    return np.mean(rows)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_is_the_formula_and_enters_the_loss_with_its_weight(temperature):
    student = kd.models.embedder("separable", (16, 16, 1), dim=3)
    teacher = kd.models.embedder("separable", (16, 16, 1), dim=9)
    method = methods.RelationalKL(weight=7.0, temperature=temperature)
    distiller = kd.Distiller(student, [method], teacher=teacher)
    distiller.compile("sgd", kd.losses.MultiSimilarity(epsilon=None))
    logs = distiller.evaluate(IMAGES, LABELS, 16, verbose=0, return_dict=True)
    expected = by_hand(
        keras.ops.convert_to_numpy(teacher(IMAGES)),
        keras.ops.convert_to_numpy(student(IMAGES)),
        temperature,
    )
    divergence = logs["relational_kl_divergence"]
    assert divergence == pytest.approx(expected, rel=1e-3)
    assert logs["loss"] == pytest.approx(logs["base_loss"] + 7 * divergence, rel=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"weight": -0.5}, "not negative.*weight=-0.5"),
        ({"temperature": float("inf")}, "positive and finite.*temperature=inf"),
    ],
)
def test_refuses_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        methods.RelationalKL(**arguments)
