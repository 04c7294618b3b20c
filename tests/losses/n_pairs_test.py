import numpy as np
import pytest
import tensorflow as tf

from keras_distill.losses import NPairs, npairs
from keras_distill.similarity import normalize

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 2, 1, 0, 3, 0, 2, 0])
EMBEDDINGS = rng.normal(size=(10, 3))


def cross_entropy(anchors, positives, classes):
    """Of each anchor, the pairs of its class being equally likely; float64, loops."""
    rows = []
    for anchor, label in zip(anchors, classes, strict=True):
        logits = np.array([anchor @ p for p in positives])
        share = np.exp(logits) / np.exp(logits).sum()
        rows.append(-np.mean(np.log(share[np.array(classes) == label])))
    return rows


def test_is_the_loss_of_tensorflow_addons(equals_reference):
    def formula(figures, anchors, positives):
        return npairs(figures["in_labels"], anchors, positives)

    equals_reference("tfa_npairs_b8_d64", formula, "anchors", "positives")


def test_pairs_of_one_class_are_all_targets():
    labels = [0, 1, 0, 2]
    got = npairs(labels, EMBEDDINGS[:4], EMBEDDINGS[4:8])
    expected = cross_entropy(EMBEDDINGS[:4], EMBEDDINGS[4:8], labels)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    column = npairs(np.array(labels)[:, None], EMBEDDINGS[:4], EMBEDDINGS[4:8])
    np.testing.assert_array_equal(got, column)


def test_the_class_gives_that_value_to_interleaved_pairs(equals_reference):
    def formula(figures, anchors, positives):
        batch = tf.reshape(tf.stack([anchors, positives], axis=1), (16, 64))
        return NPairs()(np.repeat(figures["in_labels"], 2), batch)

    equals_reference("tfa_npairs_b8_d64", formula, "anchors", "positives")


def test_consecutive_pairs_are_made_within_classes_in_order():
    # Class 0 is at 0, 2, 5, 7, 9 (9 is left over), 1 at 1, 4, 2 at 3, 8, 3 alone.
    a, p = [0, 5, 1, 3], [2, 7, 4, 8]
    expected = np.zeros(10)
    expected[a] = cross_entropy(EMBEDDINGS[a], EMBEDDINGS[p], LABELS[a])
    rows = NPairs(reduction="none")(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, expected * 10 / 4, rtol=1e-5)


def test_first_pairs_are_one_a_class():
    a, p = [0, 1, 3], [2, 4, 8]
    expected = np.zeros(10)
    expected[a] = cross_entropy(EMBEDDINGS[a], EMBEDDINGS[p], LABELS[a])
    rows = NPairs(pairs="first", reduction="none")(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, expected * 10 / 3, rtol=1e-5)


def test_first_pairs_are_pytorch_metric_learning(equals_reference):
    def formula(figures, raw):
        return NPairs(pairs="first")(figures["in_labels"], normalize(raw))

    equals_reference("pml_npairs_b8_d16", formula, "embed_raw")


def test_all_pairs_are_the_loss_of_the_benchmark(equals_reference):
    def formula(figures, embeddings):
        loss = NPairs(pairs="all", norm_weight=0.005)
        return loss(figures["in_labels"], embeddings)

    equals_reference("base_npair_b8_d16", formula, "embed")


def test_all_pairs_are_the_mean_over_the_positives_of_each_anchor():
    s = EMBEDDINGS @ EMBEDDINGS.T
    anchors = []
    for a in range(10):
        negatives = s[a][LABELS != LABELS[a]]
        rows = [
            np.log(1 + np.sum(np.exp(negatives - s[a, p])))
            for p in range(10)
            if p != a and LABELS[p] == LABELS[a]
        ]
        anchors += [np.mean(rows)] if rows else []
    expected = np.mean(anchors) + 0.3 * np.mean(np.linalg.norm(EMBEDDINGS, axis=1))
    got = NPairs(pairs="all", norm_weight=0.3)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("pairs", ["consecutive", "first", "all"])
def test_long_rows_do_not_overflow(pairs):
    rows = NPairs(pairs, reduction="none")(LABELS, 100 * EMBEDDINGS)
    assert np.all(np.isfinite(rows)) and np.max(rows) > 100


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: NPairs(pairs="half"), "consecutive, first, all.*pairs='half'"),
        (
            lambda: npairs([0, 1], EMBEDDINGS[:2], EMBEDDINGS[:3]),
            r"one label for each.*\(2,\).*\(3, 3\)",
        ),
    ],
)
def test_refuses_and_says_what_it_got(call, message):
    with pytest.raises(ValueError, match=message):
        call()
