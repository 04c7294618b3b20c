import numpy as np
import pytest

from keras_distill.losses import NTXent

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = rng.normal(size=(7, 3))


@pytest.mark.parametrize(
    "name, temperature",
    [("pml_ntxent_b8_d16", 0.07), ("pml_ntxent_T05_b8_d16", 0.5)],
)
def test_is_the_loss_of_pytorch_metric_learning(equals_reference, name, temperature):
    def formula(figures, raw):
        return NTXent(temperature, reduction=None)(figures["in_labels"], raw)

    equals_reference(name, formula, "embed_raw")


def test_rows_are_the_pairs_of_each_anchor():
    unit = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    s = np.exp(unit @ unit.T / 0.3)
    rows, pairs = np.zeros(7), 0
    for i in range(7):
        for j in range(7):
            if i != j and LABELS[i] == LABELS[j]:
                rivals = s[i][LABELS != LABELS[i]].sum()  # no other positive
                rows[i] -= np.log(s[i, j] / (s[i, j] + rivals))
                pairs += 1
    got = NTXent(temperature=0.3, reduction="none")(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(got, rows * 7 / pairs, rtol=1e-4)


def test_does_not_depend_on_the_length_of_rows():
    scaled = EMBEDDINGS * np.geomspace(1e-3, 1e3, 7)[:, None]
    np.testing.assert_allclose(
        NTXent()(LABELS, scaled), NTXent()(LABELS, EMBEDDINGS), rtol=1e-4
    )


def test_refuses_a_temperature_that_is_not_positive():
    with pytest.raises(ValueError, match="`temperature` must be positive.*=0.0"):
        NTXent(temperature=0.0)
