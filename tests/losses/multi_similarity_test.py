import numpy as np
import pytest
import tensorflow as tf

from keras_distill.losses import MultiSimilarity, multi_similarity_loss
from keras_distill.similarity import normalize

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 2, 3])
EMBEDDINGS = rng.normal(size=(8, 4))
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)


def by_hand(labels, x, alpha, beta, base, epsilon, one_sided=False):
    """Loss of each anchor, `None` where it is skipped; float64, by loops."""
    s = x @ x.T
    rows = []
    for i in range(len(x)):
        pos = [s[i, j] for j in range(len(x)) if labels[j] == labels[i] and j != i]
        neg = [s[i, j] for j in range(len(x)) if labels[j] != labels[i]]
        kept_pos = [p for p in pos if neg and p - epsilon < max(neg)]
        kept_neg = [n for n in neg if pos and n + epsilon > min(pos)]
        if not one_sided and not (kept_pos and kept_neg):
            rows.append(None)
            continue
        pull = np.log(1 + sum(np.exp(-alpha * (p - base)) for p in kept_pos)) / alpha
        push = np.log(1 + sum(np.exp(beta * (n - base)) for n in kept_neg)) / beta
        rows.append(pull + push)
    return rows


@pytest.mark.parametrize(
    "name",
    ["base_ms_b8_d16", "base_ms_ragged_b24_d32", "base_ms_someskipped_b24_d32"],
)
def test_is_the_loss_of_the_benchmark(equals_reference, name):
    def formula(figures, embeddings):
        return MultiSimilarity(reduction=None)(figures["in_labels"], embeddings)

    equals_reference(name, formula, "embed")


def test_without_mining_is_the_loss_of_pytorch_metric_learning(equals_reference):
    def formula(figures, raw):
        loss = MultiSimilarity(beta=50.0, epsilon=None)
        return loss(figures["in_labels"], normalize(raw))

    equals_reference("pml_ms_b8_d16", formula, "embed_raw")


def test_one_sided_is_pytorch_metric_learning_with_its_miner(equals_reference):
    def formula(figures, raw):
        return MultiSimilarity(one_sided=True)(figures["in_labels"], normalize(raw))

    equals_reference("pml_ms_mined_b8_d16", formula, "embed_raw")


def test_every_row_is_its_anchor_over_the_share_that_survives():
    arguments = dict(alpha=3.0, beta=17.0, base=0.3, epsilon=0.2)
    anchors = by_hand(LABELS, EMBEDDINGS, **arguments)
    survivors = [a for a in anchors if a is not None]
    assert 0 < len(survivors) < 8  # or the test would not see the divisor
    rows = MultiSimilarity(**arguments, reduction="none")(LABELS, EMBEDDINGS)
    expected = [(a or 0) * 8 / len(survivors) for a in anchors]
    np.testing.assert_allclose(rows, expected, rtol=1e-5)
    np.testing.assert_allclose(np.mean(rows), np.mean(survivors), rtol=1e-5)


def test_one_sided_anchors_count_with_what_they_keep():
    x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [-1.0, 0.0]])
    labels = [0, 0, 1, 1]
    arguments = dict(alpha=2.0, beta=5.0, base=0.5, epsilon=0.1)
    expected = by_hand(labels, x, **arguments, one_sided=True)
    assert None in by_hand(labels, x, **arguments)
    rows = multi_similarity_loss(labels, x, **arguments, one_sided=True)
    np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-7)


def test_an_anchor_alone_in_its_class_counts_only_when_one_sided():
    labels = np.array([0, 0, 1])
    mined = multi_similarity_loss(labels, EMBEDDINGS[:3], epsilon=2.0)
    whole = multi_similarity_loss(labels, EMBEDDINGS[:3], epsilon=None)
    assert mined[2] == 0 and whole[2] > 0
    # Two of three survive: their rows are 3/2 of what they are in the plain mean.
    np.testing.assert_allclose(mined[:2], 1.5 * whole[:2], rtol=1e-5)


def test_no_survivor_gives_zero_and_moves_nothing():
    apart = tf.Variable(np.eye(4)[[0, 0, 1, 1]])  # positives at 1, negatives at 0
    with tf.GradientTape() as tape:
        rows = multi_similarity_loss([0, 0, 1, 1], apart)
    np.testing.assert_array_equal(rows, 0)
    np.testing.assert_array_equal(tape.gradient(rows, apart), np.zeros((4, 4)))


def test_long_rows_do_not_overflow():
    rows = multi_similarity_loss(LABELS, 1e3 * EMBEDDINGS, epsilon=None)
    hardest = [
        max(s for s, other in zip(row, LABELS, strict=True) if other != label)
        for row, label in zip(1e6 * EMBEDDINGS @ EMBEDDINGS.T, LABELS, strict=True)
    ]
    # In the limit each side is its largest exponent.
    assert np.all(rows >= np.maximum(np.array(hardest) - 1, 0) * (1 - 1e-5))
    assert np.all(np.isfinite(rows))


@pytest.mark.parametrize("bad", [{"alpha": 0.0}, {"beta": -1.0}])
def test_refuses_steepness_that_is_not_positive(bad):
    name, value = next(iter(bad.items()))
    with pytest.raises(ValueError, match=f"`{name}` must be positive.*{name}={value}"):
        MultiSimilarity(**bad)
