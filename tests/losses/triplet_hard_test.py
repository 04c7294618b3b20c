import numpy as np
import pytest

from keras_distill.losses import TripletHard
from keras_distill.similarity import distances

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = rng.normal(size=(7, 3))


def rows_by_hand(margin, soft, metric):
    d = np.array(distances(EMBEDDINGS, metric=metric), np.float64)  # has its own test
    rows = []
    for a in range(7):
        positive = max(d[a][LABELS == LABELS[a]])  # itself, at 0, if alone
        negative = min(d[a][LABELS != LABELS[a]])
        gap = positive - negative
        rows.append(np.log1p(np.exp(gap)) if soft else max(0, gap + margin))
    return rows


def test_is_the_loss_of_tensorflow_addons(equals_reference):
    def formula(figures, embeddings):
        return TripletHard(margin=0.2)(figures["in_labels"], embeddings)

    equals_reference("tfa_triplet_hard_L2_b8_d16", formula, "embed")


@pytest.mark.parametrize("metric", ["L2", "squared-L2", "angular"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_rows_are_the_formula(metric, soft, margin):
    loss = TripletHard(margin, soft, metric, reduction="none")
    expected = rows_by_hand(margin, soft, metric)
    np.testing.assert_allclose(loss(LABELS, EMBEDDINGS), expected, rtol=1e-5, atol=1e-6)


def test_soft_does_not_overflow():
    far = np.array([[0.0], [1e4], [1.0]])
    rows = TripletHard(soft=True, reduction="none")([0, 0, 1], far)
    np.testing.assert_allclose(rows[0], 1e4 - 1, rtol=1e-5)


def test_a_batch_of_one_class_has_loss_zero():
    assert TripletHard()([5, 5, 5], EMBEDDINGS[:3]) == 0
    assert TripletHard(soft=True)([5, 5, 5], EMBEDDINGS[:3]) == 0


def test_refuses_an_unknown_distance():
    with pytest.raises(ValueError, match="`distance` must be one of.*distance='L1'"):
        TripletHard(distance="L1")
