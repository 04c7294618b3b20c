import numpy as np
import pytest

from keras_distill.losses import TripletSemiHard, triplet_semi_hard_loss
from keras_distill.similarity import normalize

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = rng.normal(size=(7, 3))


def distance(x, z, metric):
    if metric == "angular":
        return 1 - x @ z / np.linalg.norm(x) / np.linalg.norm(z)
    squared = np.sum((x - z) ** 2)
    return squared if metric == "squared-L2" else np.sqrt(squared)


def rows_by_hand(margin, metric):
    """Pairs of each anchor, scaled to the mean over all pairs; float64, by loops."""
    rows, pairs = np.zeros(7), 0
    for a in range(7):
        d = [distance(EMBEDDINGS[a], z, metric) for z in EMBEDDINGS]
        negatives = [d[n] for n in range(7) if LABELS[n] != LABELS[a]]
        for p in range(7):
            if p == a or LABELS[p] != LABELS[a]:
                continue
            behind = [n for n in negatives if n > d[p]]
            negative = min(behind) if behind else max(negatives)
            rows[a] += max(0, d[p] - negative + margin)
            pairs += 1
    return rows * 7 / pairs


@pytest.mark.parametrize(
    "name, metric",
    [("L2", "L2"), ("squaredL2", "squared-L2"), ("angular", "angular")],
)
def test_is_the_loss_of_tensorflow_addons(equals_reference, name, metric):
    def formula(figures, embeddings):
        loss = TripletSemiHard(margin=0.2, distance=metric, reduction=None)
        return loss(figures["in_labels"], embeddings)

    equals_reference(f"tfa_triplet_semihard_{name}_b8_d16", formula, "embed")


@pytest.mark.parametrize("metric", ["L2", "squared-L2", "angular"])
@pytest.mark.parametrize("margin", [0.1, 1.0])
def test_rows_are_the_formula(metric, margin):
    rows = TripletSemiHard(margin, metric, reduction="none")(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, rows_by_hand(margin, metric), rtol=1e-4, atol=1e-6)


def test_all_negatives_is_pytorch_metric_learning(equals_reference):
    def formula(figures, raw):
        loss = TripletSemiHard(margin=0.2, negatives="all")
        return loss(figures["in_labels"], normalize(raw))

    equals_reference("pml_triplet_semihard_b8_d16", formula, "embed_raw")


def test_the_negative_must_be_strictly_farther():
    line = np.array([[0.0], [1.0], [-1.0], [3.0]])
    rows = triplet_semi_hard_loss([0, 0, 1, 1], line, margin=1.0)
    # Anchor 0: the negative at 1 is no farther than the positive; that at 3 is.
    # Anchor 1: positive at 1, negatives at 2 and 2. Anchor 2: positive at 4 and
    # nothing behind it, so the farthest, at 2. Anchor 3: positive 4, farthest 3.
    np.testing.assert_allclose(rows, [0.0, 0.0, 3.0, 2.0], atol=1e-5)


def test_a_batch_of_one_class_has_no_triplet():
    assert np.all(triplet_semi_hard_loss([5, 5, 5], EMBEDDINGS[:3]) == 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"distance": "cosine"}, "`distance` must be one of L2.*distance='cosine'"),
        ({"negatives": "hard"}, "`negatives` must be one of nearest, all.*'hard'"),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        TripletSemiHard(**arguments)
    with pytest.raises(ValueError, match=message):
        triplet_semi_hard_loss(LABELS, EMBEDDINGS, **arguments)
