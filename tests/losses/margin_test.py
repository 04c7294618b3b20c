import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill.losses import Margin, distance_weighted_triplets, margin_loss
from keras_distill.similarity import normalize

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3])
EMBEDDINGS = rng.normal(size=(7, 4))
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
BETA = np.array([1.2, 0.9, 1.4, 1.1, 1.0])
ALL = [
    (a, p, n)
    for a, p, n in itertools.product(range(7), repeat=3)
    if a != p and LABELS[a] == LABELS[p] != LABELS[n]
]


def by_hand(triplets, margin=0.2, nu=0.0, divisor="triplets"):
    total, active, betas = 0.0, 0, 0.0
    for a, p, n in triplets:
        beta = BETA[LABELS[a]]
        pull = max(0, np.linalg.norm(EMBEDDINGS[a] - EMBEDDINGS[p]) - beta + margin)
        push = max(0, beta - np.linalg.norm(EMBEDDINGS[a] - EMBEDDINGS[n]) + margin)
        total, betas = total + pull + push, betas + beta
        either = pull > 0 or push > 0
        # As integers: for booleans numpy's `+` is "or", which is how the two divisors
        # came about.
        active += either if divisor == "triplets" else int(pull > 0) + int(push > 0)
    return total / max(active, 1) + nu * betas


def margin_with(beta, dim, **arguments):
    """A loss whose boundaries are `beta`."""
    loss = Margin(len(beta), **arguments)
    loss.build(dim)
    loss.parameters.trainable_weights[0].assign(beta / loss.learning_rate_multiplier)
    return loss


def test_is_the_loss_of_the_benchmark(equals_reference):
    def formula(figures, embeddings, beta):
        labels, triplets = figures["in_labels"], figures["in_triplets"]
        return margin_loss(embeddings, labels, triplets, beta)

    equals_reference("base_margin_b8_d16", formula, "embed", "beta")


def test_all_triplets_over_pairs_is_pytorch_metric_learning(
    reference, equals_reference
):
    figures = reference("pml_margin_b8_d16")
    loss = margin_with(figures["in_beta"], dim=16, triplets="all", divisor="pairs")

    def formula(figures, raw):
        return loss(figures["in_labels"], normalize(raw))

    equals_reference("pml_margin_b8_d16", formula, "embed_raw")
    (weight,) = loss.parameters.trainable_weights
    with tf.GradientTape() as tape:
        value = formula(figures, figures["in_embed_raw"])
    gradient = tape.gradient(value, weight.value)
    np.testing.assert_allclose(gradient, figures["grad_beta"], atol=2e-5)


@pytest.mark.parametrize("divisor", ["triplets", "pairs"])
@pytest.mark.parametrize("nu", [0.0, 0.3])
def test_given_triplets_are_the_formula(divisor, nu):
    triplets = ALL[::3]
    got = margin_loss(EMBEDDINGS, LABELS, triplets, BETA, 0.15, nu, divisor)
    assert got.shape == ()
    np.testing.assert_allclose(got, by_hand(triplets, 0.15, nu, divisor), rtol=1e-5)


def test_the_two_divisors_differ_where_both_hinges_are_active():
    assert by_hand(ALL, 0.3) > 1.05 * by_hand(ALL, 0.3, divisor="pairs")
    idle = {bool(by_hand([triplet], 0.05)) for triplet in ALL}
    assert idle == {True, False}  # or the tests of all triplets would see no divisor


@pytest.mark.parametrize("divisor", ["triplets", "pairs"])
@pytest.mark.parametrize("nu", [0.0, 0.3])
def test_all_triplets_are_the_formula_without_listing_them(divisor, nu):
    loss = margin_with(BETA, dim=4, margin=0.05, nu=nu, triplets="all", divisor=divisor)
    expected = by_hand(ALL, 0.05, nu, divisor)
    np.testing.assert_allclose(loss(LABELS, EMBEDDINGS), expected, rtol=1e-5)


def test_drawn_triplets_are_of_each_example_and_new_each_time():
    loss = margin_with(BETA, dim=4, nu=0.1, seed=5, lower_cutoff=1.9)
    seeds = keras.random.SeedGenerator(5)
    values = []
    for _ in range(10):
        triplets, _ = distance_weighted_triplets(LABELS, EMBEDDINGS, seeds, 1.9)
        values.append(margin_loss(EMBEDDINGS, LABELS, triplets, BETA, nu=0.1))
        np.testing.assert_allclose(loss(LABELS, EMBEDDINGS), values[-1], rtol=1e-5)
    assert len({float(value) for value in values}) > 5


def test_a_seed_repeats_the_draws_and_a_graph_does_not_freeze_them():
    def values(seed):
        loss = margin_with(BETA, dim=4, seed=seed)
        loss.track()
        step = tf.function(lambda: loss(LABELS, EMBEDDINGS))
        return [float(step()) for _ in range(4)]

    assert values(1) == values(1) != values(2)
    assert len(set(values(1))) > 1


def test_boundaries_begin_at_beta_and_move_with_the_gradient():
    loss = Margin(3, beta=0.7, learning_rate_multiplier=50.0)
    assert loss.beta is None
    loss.build(4)
    np.testing.assert_allclose(loss.beta, [0.7, 0.7, 0.7], rtol=1e-6)


def test_no_triplet_is_zero():
    empty = np.zeros((0, 3), int)
    assert margin_loss(EMBEDDINGS, LABELS, empty, BETA) == 0
    assert margin_with(BETA, dim=4, nu=1.0)([0, 0, 0], EMBEDDINGS[:3]) == 0


def test_in_a_graph_a_label_that_is_no_class_makes_it_nan():
    labels = tf.constant([0, 1, 0, 2, 1, 0, 9])
    value = tf.function(margin_loss)(EMBEDDINGS, labels, ALL[:3], BETA)
    assert np.isnan(value)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: Margin(3, triplets="hard"),
            "distance_weighted, all. Received: .*hard",
        ),
        (lambda: Margin(3, divisor="batch"), "triplets, pairs. Received: divisor='ba"),
        (lambda: Margin(3, lower_cutoff=2.0), "between 0 and 2.*lower_cutoff=2.0"),
        (lambda: Margin(0), "`num_classes` must be a positive integer.*=0"),
        (
            lambda: margin_loss(EMBEDDINGS, LABELS, [[0, 1]], BETA),
            r"\(triplets, 3\).*triplets.shape=\(1, 2\)",
        ),
        (
            lambda: margin_loss(EMBEDDINGS, LABELS, ALL, BETA[:2]),
            r"Labels must lie in 0..1.*labels=\[2, 3\]",
        ),
    ],
)
def test_refuses_and_says_what_it_got(call, message):
    with pytest.raises(ValueError, match=message):
        call()
