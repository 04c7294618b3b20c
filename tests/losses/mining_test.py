import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import losses

rng = np.random.default_rng(0)
LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 3])
EMBEDDINGS = rng.normal(size=(8, 5))
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)


def probabilities_by_hand(labels, x, cutoff):
    """The inverse of the density of distances on the sphere, in float64."""
    dim = x.shape[1]
    rows = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(len(x)):
            if labels[i] != labels[j]:
                d = np.clip(np.linalg.norm(x[i] - x[j]), cutoff, 2 - 1e-4)
                rows[i, j] = 1 / (d ** (dim - 2) * (1 - d**2 / 4) ** ((dim - 3) / 2))
    return rows / rows.sum(1, keepdims=True)


def test_probabilities_are_those_of_the_benchmark(reference):
    figures = reference("base_miners_b8_d16")
    got = losses.distance_weighted_probabilities(
        figures["in_labels"], figures["in_embed"]
    )
    expected = figures["mined_distance_neg_prob_f64"]
    np.testing.assert_allclose(got, expected, atol=5e-5)


@pytest.mark.parametrize("cutoff", [0.5, 1.2])
def test_probabilities_are_the_formula(cutoff):
    got = losses.distance_weighted_probabilities(LABELS, EMBEDDINGS, cutoff)
    expected = probabilities_by_hand(LABELS, EMBEDDINGS, cutoff)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_probabilities_survive_wide_rows_antipodes_and_duplicates():
    x = rng.normal(size=(6, 512))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[1], x[2] = -x[0], x[0]
    got = losses.distance_weighted_probabilities([0, 1, 2, 3, 4, 5], x)
    assert np.all(np.isfinite(got))
    np.testing.assert_allclose(np.sum(got, axis=1), 1, rtol=1e-5)
    alone = losses.distance_weighted_probabilities([4, 4, 4], x[:3])
    np.testing.assert_array_equal(alone, np.zeros((3, 3)))


def test_draws_follow_the_probabilities_and_the_classes():
    seeds = keras.random.SeedGenerator(0)

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None, 5])])
    def draw(labels, embeddings):
        return losses.distance_weighted_triplets(labels, embeddings, seeds)

    positives, negatives = np.zeros((8, 8)), np.zeros((8, 8))
    for _ in range(1500):
        triplets, valid = draw(LABELS.astype("f"), EMBEDDINGS.astype("f"))
        anchors, positive, negative = np.transpose(triplets)
        np.testing.assert_array_equal(anchors, np.arange(8))
        positives[anchors, positive] += 1 / 1500
        negatives[anchors, negative] += 1 / 1500
    assert np.all(valid)
    expected = probabilities_by_hand(LABELS, EMBEDDINGS, 0.5)
    # Standard error of a share of 1500 draws is at most 0.013.
    np.testing.assert_allclose(negatives, expected, atol=0.055)
    same = (LABELS[:, None] == LABELS) & ~np.eye(8, dtype=bool)
    same[7, 7] = True  # alone in its class: its own positive
    np.testing.assert_allclose(positives, same / same.sum(1, keepdims=True), atol=0.055)


def test_an_anchor_without_negative_is_marked():
    _, valid = losses.distance_weighted_triplets([1, 1, 1], EMBEDDINGS[:3], seed=0)
    assert not np.any(valid)


def test_semi_hard_candidates_are_those_of_the_benchmark(reference):
    figures = reference("base_miners_b8_d16")
    expected = figures["mined_semihard_neg_candidates"]
    assert len(set(expected.sum(1))) > 1  # both branches are in the figures
    got = losses.semi_hard_candidates(
        figures["in_labels"],
        figures["in_embed"],
        figures["mined_semihard_triplets"][:, 1],
        margin=float(figures["hp_semihard_margin"]),
    )
    np.testing.assert_array_equal(got, expected)


def test_the_positive_candidates_of_the_benchmark_are_the_others_of_the_class(
    reference,
):
    figures = reference("base_miners_b8_d16")
    labels = figures["in_labels"]
    expected = (labels[:, None] == labels) & ~np.eye(8, dtype=bool)
    np.testing.assert_array_equal(figures["mined_semihard_pos_candidates"], expected)
    got, _ = losses.distance_weighted_triplets(labels, figures["in_embed"], seed=3)
    assert np.all(expected[np.arange(8), got[:, 1]])
