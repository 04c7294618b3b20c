import itertools

import keras
import numpy as np
import pytest

from keras_distill import losses
from keras_distill.losses import Contrastive, contrastive_pairs, contrastive_triplets
from keras_distill.similarity import normalize

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = 0.5 * rng.normal(size=(7, 3))


def hinges_by_hand(margin, positive_margin):
    """Pulls and pushes of all ordered pairs, as (anchor, hinge); float64, loops."""
    pulls, pushes = [], []
    for i, j in itertools.permutations(range(7), 2):
        d = np.linalg.norm(EMBEDDINGS[i] - EMBEDDINGS[j])
        if LABELS[i] == LABELS[j]:
            pulls.append((i, max(0, d - positive_margin)))
        else:
            pushes.append((i, max(0, margin - d)))
    return pulls, pushes


def test_pairs_are_those_of_tensorflow_addons(reference, equals_reference):
    figures = reference("tfa_contrastive_b8")
    pairs = contrastive_pairs(figures["in_is_positive"], figures["in_distances"])
    np.testing.assert_allclose(pairs, figures["out_per_pair"], rtol=2e-5, atol=2e-6)

    def formula(figures, distances):
        return contrastive_pairs(figures["in_is_positive"], distances, margin=1.0)

    equals_reference("tfa_contrastive_b8", formula, "distances", loss="out_mean")


def test_squared_is_the_mean_of_contrastive_pairs_over_the_batch():
    i, j = np.triu_indices(7, k=1)
    d = np.linalg.norm(EMBEDDINGS[i] - EMBEDDINGS[j], axis=1)
    expected = np.mean(contrastive_pairs(LABELS[i] == LABELS[j], d, margin=0.8))
    got = Contrastive(margin=0.8)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_squared_rows_are_the_formula():
    rows = np.zeros(7)
    for hinges in hinges_by_hand(0.9, 0.7):
        for anchor, hinge in hinges:
            rows[anchor] += hinge**2 / 6
    got = Contrastive(0.9, 0.7, reduction="none")(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(got, rows, rtol=1e-5)


def test_linear_is_pytorch_metric_learning(equals_reference):
    def formula(figures, raw):
        return Contrastive(form="linear")(figures["in_labels"], normalize(raw))

    equals_reference("pml_contrastive_b8_d16", formula, "embed_raw")


def test_linear_rows_are_the_formula():
    rows = np.zeros(7)
    for hinges in hinges_by_hand(0.9, 0.7):
        active = [(anchor, hinge) for anchor, hinge in hinges if hinge > 0]
        assert 0 < len(active) < len(hinges)
        for anchor, hinge in active:
            rows[anchor] += hinge * 7 / len(active)
    loss = Contrastive(0.9, 0.7, form="linear", reduction="none")
    np.testing.assert_allclose(loss(LABELS, EMBEDDINGS), rows, rtol=1e-5)


def test_given_triplets_are_the_loss_of_the_benchmark(equals_reference):
    def formula(figures, embeddings):
        return contrastive_triplets(embeddings, figures["in_triplets"])

    equals_reference("base_contrastive_b8_d16", formula, "embed")


def test_sampled_is_that_loss_on_drawn_triplets():
    loss = Contrastive(0.9, 0.1, form="sampled", seed=3)
    seeds = keras.random.SeedGenerator(3)
    values = []
    for _ in range(3):
        triplets, _ = losses.distance_weighted_triplets(LABELS, EMBEDDINGS, seeds)
        rows = contrastive_triplets(EMBEDDINGS, triplets, 0.9, 0.1)
        values.append(np.mean(rows))
        np.testing.assert_allclose(loss(LABELS, EMBEDDINGS), values[-1], rtol=1e-5)
    assert len(set(values)) == 3


def test_the_function_does_not_draw():
    with pytest.raises(ValueError, match="squared, linear. Received: form='sampled'"):
        losses.contrastive_loss(LABELS, EMBEDDINGS, form="sampled")


def test_refuses_an_unknown_form():
    with pytest.raises(ValueError, match="squared, linear, sampled.*form='hard'"):
        Contrastive(form="hard")
