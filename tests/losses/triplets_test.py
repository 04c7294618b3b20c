import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.losses import all_triplets_loss, triplet_loss
from keras_distill.similarity import normalize

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = rng.normal(size=(7, 3))


def distance(x, z, metric):
    if metric == "angular":
        return 1 - x @ z / np.linalg.norm(x) / np.linalg.norm(z)
    squared = np.sum((x - z) ** 2)
    return squared if metric == "squared-L2" else np.sqrt(squared)


def test_given_triplets_are_the_loss_of_the_benchmark(equals_reference):
    def formula(figures, embeddings):
        return triplet_loss(embeddings, figures["in_triplets"], margin=0.2)

    equals_reference("base_triplet_semihard_b8_d16", formula, "embed")


def test_all_triplets_are_the_loss_of_pytorch_metric_learning(equals_reference):
    def formula(figures, raw):
        return all_triplets_loss(figures["in_labels"], normalize(raw), margin=0.2)

    equals_reference("pml_triplet_b8_d16", formula, "embed_raw")


def test_triplets_given_by_a_miner_are_its_loss_with_it(equals_reference):
    def formula(figures, raw):
        triplets = np.stack([figures[f"mined_{x}"] for x in "apn"], axis=1)
        return triplet_loss(normalize(raw), triplets, margin=0.2, distance="L2")

    equals_reference("pml_triplet_semihard_b8_d16", formula, "embed_raw")


@pytest.mark.parametrize("metric", ["L2", "squared-L2", "angular"])
@pytest.mark.parametrize("semi_hard", [False, True])
def test_both_are_the_formula(metric, semi_hard):
    margin, totals, active, triplets = 0.4, np.zeros(7), 0, []
    for a, p, n in itertools.product(range(7), repeat=3):
        if a == p or not LABELS[a] == LABELS[p] != LABELS[n]:
            continue
        gap = distance(EMBEDDINGS[a], EMBEDDINGS[n], metric) - distance(
            EMBEDDINGS[a], EMBEDDINGS[p], metric
        )
        if gap < margin and (not semi_hard or gap > 0):
            totals[a] += margin - gap
            active += 1
            triplets.append((a, p, n))
    rows = all_triplets_loss(LABELS, EMBEDDINGS, margin, metric, semi_hard)
    np.testing.assert_allclose(rows, totals * 7 / active, rtol=1e-4, atol=1e-6)
    given = triplet_loss(EMBEDDINGS, triplets, margin, metric)
    assert given.shape == (active,)
    np.testing.assert_allclose(np.mean(given), totals.sum() / active, rtol=1e-4)


@pytest.mark.parametrize("metric", ["L2", "squared-L2", "angular"])
def test_equal_and_zero_rows_have_a_finite_gradient(metric):
    x = tf.Variable([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        value = triplet_loss(x, [[0, 1, 2], [3, 3, 0], [0, 2, 1]], 5.0, metric)
    assert np.all(np.isfinite(value)) and np.all(np.isfinite(tape.gradient(value, x)))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: triplet_loss(EMBEDDINGS, [[0, 1, 2]], distance="L3"),
            "`distance` must be one of.*distance='L3'",
        ),
        (
            lambda: all_triplets_loss(LABELS, EMBEDDINGS, distance="L3"),
            "`distance` must be one of.*distance='L3'",
        ),
        (
            lambda: triplet_loss(EMBEDDINGS, [0, 1, 2]),
            r"\(triplets, 3\).*triplets.shape=\(3,\)",
        ),
    ],
)
def test_refuses_and_says_what_it_got(call, message):
    with pytest.raises(ValueError, match=message):
        call()
