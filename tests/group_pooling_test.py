"""A group becomes one vector: its best elements weigh most, its padding nothing."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.group_pooling import (
    group_ranks,
    group_weights,
    pool_groups,
)
from keras_distill.methods import ddl

CLOSE = {"rtol": 1e-5, "atol": 1e-6}  # values
NEAR = {"rtol": 1e-4, "atol": 1e-6}  # gradients


def weights_by_hand(scores, mask, rescale_above=2, threshold=0.0, keep=None):
    """One group at a time, one element at a time, in float64."""
    weights = np.zeros(np.shape(scores))
    for g, (row, there) in enumerate(zip(scores, mask, strict=True)):
        inside = [i for i in range(len(row)) if there[i]]
        worth = {i: float(row[i]) for i in inside}
        kept = sorted(inside, key=lambda i: -worth[i])[:keep]
        if len(inside) > rescale_above:
            low, high = min(worth.values()), max(worth.values())
            flat = low == high
            worth = {i: 1 if flat else (worth[i] - low) / (high - low) for i in inside}
            kept = [i for i in kept if worth[i] > threshold]
        total = sum(worth[i] for i in kept)
        for i in kept:
            weights[g, i] = worth[i] / total if total else 1 / len(kept)
    return weights


def some_groups(groups=40, size=7, seed=0):
    """Scores of groups of any size from 0 on, with ties, and what is an element."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.uniform(0, 1, (groups, size)), 1)
    mask = rng.uniform(size=(groups, size)) < rng.uniform(size=(groups, 1))
    mask[0], mask[1] = False, True
    return scores.astype("float32"), mask


@pytest.mark.parametrize("keep", [None, 1, 2, 3, 9])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("rescale_above", [0, 1, 2, 4, 100])
def test_weights_are_the_formula(rescale_above, threshold, keep):
    scores, mask = some_groups()
    options = rescale_above, threshold, keep
    found = group_weights(scores, mask, *options)
    wanted = weights_by_hand(scores.astype("float64"), mask, *options)
    np.testing.assert_allclose(found, wanted, **CLOSE)
    assert found.dtype == "float32"


def test_equals_the_reference_in_value(reference):
    case = reference("ddl_aggregate_authors")
    scores, mask = case["scores"], case["mask"]
    found = ddl.group_weights(scores, mask)
    np.testing.assert_allclose(found, case["weights"], **CLOSE)
    pooled = ddl.pool_groups(case["features"], scores, mask)
    np.testing.assert_allclose(pooled, case["group_feature"], **CLOSE)


@pytest.mark.parametrize("padding", [None, np.nan, np.inf, -3e38])
def test_equals_the_reference_in_gradient_whatever_the_padding(reference, padding):
    case = reference("ddl_aggregate_authors")
    mask, smooth = case["mask"], case["smooth_groups"]
    features, scores = case["features"], case["scores"]
    if padding is not None:
        features = np.where(mask[..., None], features, padding)
        scores = np.where(mask, scores, padding)
    features, scores = (tf.Variable(x, dtype="float32") for x in (features, scores))
    probe = tf.constant(case["probe"], "float32")
    with tf.GradientTape(persistent=True) as tape:
        pooled = pool_groups(features, scores, mask)
        products = tf.reduce_sum(probe * pooled, axis=1)
        loss, smooth_loss = (
            tf.reduce_sum(products),
            tf.reduce_sum(tf.gather(products, smooth)),
        )
    np.testing.assert_allclose(pooled, case["group_feature"], **CLOSE)
    to_features = tape.gradient(loss, features)
    to_scores = tape.gradient(smooth_loss, scores)
    np.testing.assert_allclose(to_features, case["grad_features"], **NEAR)
    np.testing.assert_allclose(to_scores, case["grad_scores"], **NEAR)
    # Also where scores tie, and in the empty group.
    assert np.isfinite(tape.gradient(loss, scores)).all()


def test_equal_scores_are_the_mean(reference):
    case = reference("ddl_aggregate_mean")
    scores = np.full(case["mask"].shape, 0.7)
    pooled = pool_groups(case["features"], scores, case["mask"])
    np.testing.assert_allclose(pooled, case["group_feature"], **CLOSE)
    weights = group_weights(scores, case["mask"])
    np.testing.assert_allclose(weights, case["weights"], **CLOSE)


def pooled_and_gradients(scores, **options):
    """One group; features are 1, 10, 100, ..., so that a sum shows its parts."""
    scores = tf.Variable([scores], dtype="float32")
    features = tf.Variable(
        10.0 ** np.arange(scores.shape[1])[None, :, None], dtype="float32"
    )
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(pool_groups(features, scores, **options))
    gradients = tape.gradient(loss, [features, scores])
    return float(loss), np.ravel(gradients[0]), np.ravel(gradients[1])


# Scores; what is an element; the group's value; gradients to features, to scores.
EDGE_CASES = {
    "empty": ([0.5, 0.2], [0, 0], 0, [0, 0], [0, 0]),
    "one": ([0.3, 0.9], [1, 0], 1, [1, 0], [0, 0]),
    "one of score 0": ([0.9, 0.0], [0, 1], 10, [0, 1], [0, 0]),
    # d(a / (a + b)) = b / (a + b)^2, times 1 - 10.
    "two": ([0.2, 0.6], [1, 1], 7.75, [0.25, 0.75], [-8.4375, 2.8125]),
    "two of score 0": ([0.0, 0.0], [1, 1], 5.5, [0.5, 0.5], [0, 0]),
    "all equal": ([0.4] * 3, [1] * 3, 37, [1 / 3] * 3, [0] * 3),
    "all 0": ([0.0] * 3, [1] * 3, 37, [1 / 3] * 3, [0] * 3),
    "two between padding": (
        [0.9, 0.5, 0.1, 0.5],
        [0, 1, 0, 1],
        505,
        [0, 0.5] * 2,
        None,
    ),
    # The stretch exaggerates: without it they would weigh a third each, nearly.
    "three all but equal": ([0.9, 0.9, 0.91], [1] * 3, 100, [0, 0, 1], None),
    # Stretched to 0, 1, 0.5: the third is the mean of the ends.
    "three": ([0.1, 0.3, 0.2], [1] * 3, 40, [0, 2 / 3, 1 / 3], None),
}


@pytest.mark.parametrize("case", EDGE_CASES.values(), ids=EDGE_CASES)
def test_edge_cases_in_value_and_gradient(case):
    scores, mask, value, to_features, to_scores = case
    found = pooled_and_gradients(scores, mask=np.array([mask], bool))
    np.testing.assert_allclose(found[0], value, rtol=1e-5)
    np.testing.assert_allclose(found[1], to_features, rtol=1e-5)
    if to_scores is not None:
        np.testing.assert_allclose(found[2], to_scores, rtol=1e-5, atol=1e-5)
    assert np.isfinite(found[2]).all()


@pytest.mark.parametrize(
    "scores", [[1e-45, 3e-44, 0.0], [1e-45, 2e-45], [2e-37, 1e-37, 0.0], [1e-36, 0.0]]
)
def test_scores_too_small_to_divide_by_weigh_the_same(scores):
    value, _, to_scores = pooled_and_gradients(scores)
    wanted = np.mean(10.0 ** np.arange(len(scores)))
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_array_equal(to_scores, 0)


def test_negative_scores_that_are_not_stretched_count_as_zero():
    found = group_weights([[-1.0, 0.5], [-1.0, -2.0], [-1.0, 1.0]])
    np.testing.assert_allclose(found, [[0, 1], [0.5, 0.5], [0, 1]])


def test_stretching_makes_moving_and_scaling_of_scores_no_difference():
    scores, mask = some_groups()
    mask &= mask.sum(axis=1, keepdims=True) > 2
    found = group_weights(0.25 * scores + 0.5, mask)
    np.testing.assert_allclose(found, group_weights(scores, mask), rtol=1e-4, atol=1e-6)


def test_groups_do_not_see_each_other_nor_the_order_of_their_elements():
    scores, mask = some_groups()
    weights = group_weights(scores, mask).numpy()
    alone = [group_weights(scores[g : g + 1], mask[g : g + 1])[0] for g in range(40)]
    np.testing.assert_allclose(weights, alone, rtol=1e-6)
    order = np.random.default_rng(1).permutation(7)
    np.testing.assert_allclose(
        group_weights(scores[:, order], mask[:, order]), weights[:, order], **CLOSE
    )


def test_weights_of_a_group_sum_to_one_and_of_none_to_zero():
    scores, mask = some_groups()
    for options in ({}, {"keep": 2}, {"threshold": 0.9}, {"rescale_above": 0}):
        sums = np.sum(group_weights(scores, mask, **options), axis=1)
        np.testing.assert_allclose(sums, mask.any(axis=1), atol=1e-6)


def test_to_keep_as_many_as_there_are_is_to_keep_all():
    scores, mask = some_groups()
    every = group_weights(scores, mask)
    for keep in (7, 100):
        np.testing.assert_array_equal(group_weights(scores, mask, keep=keep), every)


def test_scores_are_stretched_over_the_whole_group_before_the_best_are_kept():
    # Over the kept two alone, 0.6 would be the worst and weigh nothing.
    found = group_weights([[0.2, 1.0, 0.6]], keep=2)
    np.testing.assert_allclose(found, [[0, 2 / 3, 1 / 3]], rtol=1e-5)


def test_what_is_only_at_the_threshold_weighs_nothing():
    found = group_weights([[0.0, 0.5, 1.0, 0.75]], threshold=0.5)
    np.testing.assert_allclose(found, [[0, 0, 4 / 7, 3 / 7]], rtol=1e-6)


def test_of_equal_scores_the_first_are_kept():
    found = group_weights([[0.5, 0.5, 0.5, 0.5]], [[False, True, True, True]], keep=2)
    np.testing.assert_allclose(found, [[0, 0.5, 0.5, 0]])


def test_ranks_put_the_best_first_and_what_is_masked_last():
    scores = [[0.1, 0.9, np.nan, 0.9, -5.0]]
    found = group_ranks(scores, [[True, True, False, True, True]])
    np.testing.assert_array_equal(found, [[2, 0, 4, 1, 3]])
    scores, mask = some_groups()
    np.testing.assert_array_equal(
        np.sort(group_ranks(scores, mask), axis=1), np.tile(np.arange(7), (40, 1))
    )


def test_features_that_are_not_chosen_are_not_computed_with():
    features = tf.Variable([[[1.0], [2.0], [np.nan], [np.inf]]])
    scores = tf.Variable([[0.9, 0.5, 0.4, 0.1]])
    for options in ({"keep": 2}, {"threshold": 0.45}):
        for normalize_elements in (False, True):
            with tf.GradientTape() as tape:
                pooled = pool_groups(
                    features, scores, normalize_elements=normalize_elements, **options
                )
            # Stretched to 1 and 0.5.
            wanted = 1 if normalize_elements else 4 / 3
            np.testing.assert_allclose(pooled, [[wanted]], rtol=1e-5)
            for gradient in tape.gradient(pooled, [features, scores]):
                assert np.isfinite(gradient).all()


def test_half_precision_is_computed_with_in_float32():
    scores, mask = some_groups()
    features = np.random.default_rng(0).normal(size=(40, 7, 5)).astype("float16")
    halves = pool_groups(features, scores.astype("float16"), mask)
    wanted = pool_groups(
        features.astype("float32"), scores.astype("float16").astype("float32"), mask
    )
    assert halves.dtype == "float32"
    np.testing.assert_array_equal(halves, wanted)


def test_no_groups_and_groups_without_places_give_rows_all_the_same():
    assert pool_groups(np.zeros((0, 3, 2)), np.zeros((0, 3))).shape == (0, 2)
    empty = pool_groups(np.zeros((4, 0, 2)), np.zeros((4, 0)), keep=2)
    np.testing.assert_array_equal(empty, np.zeros((4, 2)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_traced_function_gives_the_same_for_any_number_of_groups(jit_compile):
    scores, mask = some_groups()
    signature = [tf.TensorSpec((None, None)), tf.TensorSpec((None, None), "bool")]

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def traced(scores, mask):
        return group_weights(scores, mask, keep=3)

    wanted = group_weights(scores, mask, keep=3)
    for count in (40, 3):
        found = traced(scores[:count], mask[:count])
        np.testing.assert_allclose(found, wanted[:count], **CLOSE)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"threshold": 1.0}, r"\[0, 1\).*threshold=1.0"),
        ({"threshold": -0.1}, r"\[0, 1\).*threshold=-0.1"),
        ({"threshold": np.nan}, r"\[0, 1\).*threshold=nan"),
        ({"rescale_above": -1}, "`rescale_above` must be an integer.*=-1"),
        ({"rescale_above": 1.5}, "`rescale_above` must be an integer.*=1.5"),
        ({"keep": 0}, "`keep` must be an integer, 1 or more.*keep=0"),
        ({"mask": np.ones((3, 5), bool)}, r"mask.shape=\(3, 5\)"),
        ({"mask": np.ones(3, bool)}, r"mask.shape=\(3,\)"),
    ],
)
def test_refuses_and_says_what_it_got(options, message):
    with pytest.raises(ValueError, match=message):
        group_weights(np.ones((3, 4)), **options)
    with pytest.raises(ValueError, match=message):
        pool_groups(np.ones((3, 4, 2)), np.ones((3, 4)), **options)


@pytest.mark.parametrize("shape", [(3, 4), (3, 5, 2), (2, 4, 2)])
def test_refuses_features_of_other_groups(shape):
    with pytest.raises(ValueError, match=rf"\(G, N, D\).*features.shape=\({shape[0]}"):
        pool_groups(np.ones(shape), np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"\(G, N\).*scores.shape=\(3, 4, 1\)"):
        pool_groups(np.ones((3, 4, 2)), np.ones((3, 4, 1)))
