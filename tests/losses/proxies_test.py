"""ProxyNCA, ProxyAnchor, ArcFace and NormalizedSoftmax: one proxy a class."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill import losses

rng = np.random.default_rng(0)
LABELS = np.array([0, 1, 0, 3, 1, 0])
EMBEDDINGS = rng.normal(size=(6, 5))
UNIT = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
PROXIES = rng.normal(size=(4, 5))
COSINES = UNIT @ (PROXIES / np.linalg.norm(PROXIES, axis=1, keepdims=True)).T


def with_proxies(loss, proxies=PROXIES):
    """The loss, with these proxies for weights."""
    loss.build(proxies.shape[1])
    (weight,) = loss.parameters.weights
    weight.assign(proxies / loss.learning_rate_multiplier)
    return loss


def cross_entropy(logits):
    return [
        np.log(np.exp(row).sum()) - row[label]
        for row, label in zip(logits, LABELS, strict=True)
    ]


@pytest.mark.parametrize(
    "name, embed, formula",
    [
        (
            "base_proxynca_b8_d16_c6",
            "embed",
            lambda labels, x, p: losses.proxy_nca_loss(labels, x, p, scale=3.0**2),
        ),
        (
            "pml_proxynca_b8_d16",
            "embed_raw",
            lambda labels, x, p: losses.proxy_nca_loss(
                labels, x, p, scale=3.0, include_positive=True
            ),
        ),
        ("pml_proxyanchor_b8_d16", "embed_raw", losses.proxy_anchor_loss),
        (
            "base_oproxy_anchor_b8_d16_c6",
            "embed_raw",
            lambda labels, x, p: losses.proxy_anchor_loss(
                labels, x, p, average="examples"
            ),
        ),
        (
            "base_arcface_b8_d16_c6",
            "embed",
            lambda labels, x, p: losses.arc_face_loss(
                labels, x, p, margin=0.5, scale=16.0, form="clamped"
            ),
        ),
        ("base_normsoftmax_b8_d16_c6", "embed", losses.normalized_softmax_loss),
    ],
)
def test_the_functions_are_the_reference(equals_reference, name, embed, formula):
    def with_labels(figures, embeddings, proxies):
        return formula(figures["in_labels"], embeddings, proxies)

    equals_reference(name, with_labels, embed, "proxies")


def test_arc_face_is_that_of_pytorch_metric_learning(equals_reference):
    def formula(figures, raw, columns):
        proxies = tf.transpose(columns)
        margin = np.deg2rad(figures["hp_margin_degrees"])
        return losses.arc_face_loss(figures["in_labels"], raw, proxies, margin)

    equals_reference("pml_arcface_b8_d16", formula, "embed_raw", "W")


@pytest.mark.parametrize(
    "loss, name, embed",
    [
        (losses.ProxyNCA(6), "base_proxynca_b8_d16_c6", "embed"),
        (losses.ProxyAnchor(6), "pml_proxyanchor_b8_d16", "embed_raw"),
        (
            losses.ArcFace(6, scale=16.0, form="clamped"),
            "base_arcface_b8_d16_c6",
            "embed",
        ),
        (losses.NormalizedSoftmax(6), "base_normsoftmax_b8_d16_c6", "embed"),
        (
            losses.NormalizedSoftmax(6, learning_rate_multiplier=20.0),
            "base_normsoftmax_b8_d16_c6",
            "embed",
        ),
    ],
)
def test_the_classes_are_the_reference(reference, loss, name, embed):
    figures = reference(name)
    with_proxies(loss, figures["in_proxies"])
    np.testing.assert_allclose(loss.proxies, figures["in_proxies"], rtol=1e-6)
    (weight,) = loss.parameters.weights
    with tf.GradientTape() as tape:
        value = loss(figures["in_labels"], figures[f"in_{embed}"])
    np.testing.assert_allclose(value, figures["out_loss"], rtol=2e-5)
    # Proxies are the weight times the multiplier, and so is the chain rule.
    gradient = tape.gradient(value, weight.value) / loss.learning_rate_multiplier
    expected = figures["grad_proxies"]
    room = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=room)


@pytest.mark.parametrize("include_positive", [False, True])
def test_proxy_nca_is_the_formula(include_positive):
    squared = 2 - 2 * COSINES
    expected = []
    for row, label in zip(squared, LABELS, strict=True):
        rivals = row if include_positive else np.delete(row, label)
        expected.append(4 * row[label] + np.log(np.exp(-4 * rivals).sum()))
    loss = losses.ProxyNCA(4, 4.0, include_positive, reduction="none")
    rows = with_proxies(loss)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, expected, rtol=1e-4)


@pytest.mark.parametrize("average", ["classes", "examples"])
def test_proxy_anchor_is_the_formula(average):
    pull, push = np.zeros(4), np.zeros(4)
    for k in range(4):
        own = LABELS == k
        pull[k] = np.log(1 + np.exp(-8 * (COSINES[own, k] - 0.2)).sum())
        push[k] = np.log(1 + np.exp(8 * (COSINES[~own, k] + 0.2)).sum())
    chosen = LABELS if average == "examples" else [0, 1, 3]  # class 2 is absent
    expected = pull[chosen].mean() + push.mean()
    loss = with_proxies(losses.ProxyAnchor(4, 0.2, 8.0, average))
    np.testing.assert_allclose(loss(LABELS, EMBEDDINGS), expected, rtol=1e-5)
    rows = loss.call(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, np.full(6, expected), rtol=1e-5)


@pytest.mark.parametrize("margin", [0.3, 2.5])
def test_arc_face_is_the_formula(margin):
    angles = np.arccos(COSINES)
    logits = np.cos(angles)
    passed_pi = 0
    for i, label in enumerate(LABELS):
        if angles[i, label] + margin <= np.pi:
            logits[i, label] = np.cos(angles[i, label] + margin)
        else:
            logits[i, label] -= margin * np.sin(margin)
            passed_pi += 1
    assert bool(passed_pi) == (margin > 1)
    loss = losses.ArcFace(4, margin, 10.0, reduction="none")
    rows = with_proxies(loss)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, cross_entropy(10 * logits), rtol=1e-4)


def test_clamped_arc_face_does_not_see_classes_beyond_a_right_angle():
    loss = losses.ArcFace(4, 0.3, 10.0, "clamped", reduction="none")
    logits = np.maximum(COSINES, 1e-10)
    for i, label in enumerate(LABELS):
        logits[i, label] = np.cos(np.arccos(logits[i, label]) + 0.3)
    rows = with_proxies(loss)(LABELS, UNIT)
    np.testing.assert_allclose(rows, cross_entropy(10 * logits), rtol=1e-4)


def test_normalized_softmax_is_the_formula_and_takes_rows_as_they_come():
    loss = losses.NormalizedSoftmax(4, temperature=0.2, reduction="none")
    logits = COSINES * np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True) / 0.2
    rows = with_proxies(loss)(LABELS, EMBEDDINGS)
    np.testing.assert_allclose(rows, cross_entropy(logits), rtol=1e-4)


@pytest.mark.parametrize(
    "cls",
    [losses.ProxyNCA, losses.ProxyAnchor, losses.ArcFace, losses.NormalizedSoftmax],
)
def test_proxies_begin_as_different_directions_of_length_about_one(cls):
    loss = cls(50, learning_rate_multiplier=30.0)
    assert loss.proxies is None
    loss.build(64)
    lengths = np.linalg.norm(loss.proxies, axis=1)
    np.testing.assert_allclose(lengths.mean(), 1.0, atol=0.05)
    cosines = np.corrcoef(loss.proxies)[~np.eye(50, dtype=bool)]
    assert np.abs(cosines).max() < 0.8


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.ProxyNCA(1), "must have rivals.*num_classes=1"),
        (lambda: losses.ProxyNCA(4, scale=0.0), "`scale` must be positive.*=0.0"),
        (lambda: losses.ProxyAnchor(4, alpha=-1.0), "`alpha` must be positive.*=-1.0"),
        (lambda: losses.ProxyAnchor(4, average="all"), "classes, examples.*'all'"),
        (lambda: losses.ArcFace(4, margin=3.2), r"\[0, pi\).*margin=3.2"),
        (lambda: losses.ArcFace(4, scale=0), "`scale` must be positive.*=0"),
        (lambda: losses.ArcFace(4, form="easy"), "paper, clamped.*form='easy'"),
        (lambda: losses.NormalizedSoftmax(4, temperature=-1), "positive.*=-1"),
        (lambda: losses.ArcFace(2.5), "positive integer.*num_classes=2.5"),
        (
            lambda: losses.proxy_nca_loss([0, 4], UNIT[:2], PROXIES),
            r"Labels must lie in 0..3.*labels=\[4\]",
        ),
    ],
)
def test_refuses_and_says_what_it_got(call, message):
    with pytest.raises(ValueError, match=message):
        call()
