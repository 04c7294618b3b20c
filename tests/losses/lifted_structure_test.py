import itertools

import numpy as np

from keras_distill.losses import LiftedStructure

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = rng.normal(size=(7, 3))
DISTANCES = np.linalg.norm(EMBEDDINGS[:, None] - EMBEDDINGS, axis=2)


def by_hand(margin):
    """Equation 4 of the paper, over unordered pairs."""
    total, pairs = 0.0, 0
    for i, j in itertools.combinations(range(7), 2):
        if LABELS[i] != LABELS[j]:
            continue
        rivals = sum(
            np.exp(margin - DISTANCES[end, n])
            for end in (i, j)
            for n in range(7)
            if LABELS[n] != LABELS[i]
        )
        total += max(0, np.log(rivals) + DISTANCES[i, j]) ** 2
        pairs += 1
    return total / (2 * pairs)


def test_is_the_formula():
    for margin in (1.0, -1.5):
        got = LiftedStructure(margin=margin)(LABELS, EMBEDDINGS)
        np.testing.assert_allclose(got, by_hand(margin), rtol=1e-5)


def test_each_pair_is_seen_from_both_ends():
    rows = LiftedStructure(reduction="none")(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows[1], rows[4], rtol=1e-5)  # the only pair of class 1
    assert rows[3] == rows[6] == 0  # alone in their classes


def test_no_pairs_or_no_negatives_give_zero():
    assert LiftedStructure()([0, 1, 2], EMBEDDINGS[:3]) == 0
    assert LiftedStructure()([0, 0, 0], EMBEDDINGS[:3]) == 0


def test_far_rows_do_not_overflow():
    value = LiftedStructure(margin=1e4)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(value, 1e8 / 2, rtol=1e-2)
