"""To PAD boxes and cells are samples, and padding is none."""

import dataclasses

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from keras import ops

import keras_distill as kd
from keras_distill import methods
from tests.methods.pad_cases import Boxes, batch_of, on_boxes, total

rng = np.random.default_rng(0)


class OneABox(Boxes):
    """`Boxes` with one distance a box."""

    per_dim = False
    same_width = False

    def compare(self, rows):
        distance = ops.mean(self.distance(rows["teacher"], rows["student"]), -1)
        return methods.Comparison(distance, rows["student"], rows.get("mask"))


def by_hand(method, student, teacher, mask):
    """The loss of `PAD` in float64 loops, its log-variances and their correlation."""
    kernel, bias = (w.astype("float64") for w in method.head.dense.get_weights())
    norm = [np.array(v, "float64") for v in method.head.norm.variables[:2]]
    found = [
        (image, *cell)
        for image in range(len(student))
        for cell in np.argwhere(mask[image])
    ]
    raw = np.array([student[i] @ kernel + bias for i in found])
    s = (raw - raw.mean(0)) / np.sqrt(raw.var(0) + 1e-5) * norm[0] + norm[1]
    images = [[] for _ in student]
    for place, uncertainty in zip(found, s, strict=True):
        d = (teacher[place] - student[place]) ** 2
        d = d if method.head.width > 1 else d.mean(keepdims=True)
        value = d / (1e-6 + np.exp(uncertainty)) + uncertainty
        images[place[0]].append([value.mean(), uncertainty.mean(), d.mean()])
    loss = np.mean([np.mean(values, 0)[0] if values else 0.0 for values in images])
    _, known, far = np.transpose([np.mean(values, 0) for values in images if values])
    return loss, s, scipy.stats.spearmanr(known, far).statistic


@pytest.mark.parametrize(
    "term, variance",
    [(Boxes, "per_dim"), (Boxes, "per_sample"), (OneABox, None)],
)
@pytest.mark.parametrize("axes", [(3,), (2, 3)], ids=["boxes", "cells"])
def test_boxes_and_cells_are_samples_and_padding_is_none(term, variance, axes):
    options = {"teacher_dim": 4} if term.same_width else {}
    method = on_boxes(term(**options), (*axes, 4), variance)
    student, teacher = rng.normal(size=(2, 6, *axes, 4)).astype("f4")
    mask = rng.uniform(size=(6, *axes)) < 0.6
    mask[0], mask[1] = True, False  # an image full of boxes and one without any
    expected, log_variances, correlation = by_hand(method, student, teacher, mask)
    start = method.get_weights()
    results = []
    for filling in (0.0, 1e6):
        method.set_weights(start)
        filled = tf.Variable(np.where(mask[..., None], student, filling))
        other = np.where(mask[..., None], teacher, -filling)
        with tf.GradientTape() as tape:
            rows = {"student": filled, "teacher": other, "mask": mask}
            terms = method.terms(batch_of(rows))
            loss = total(terms)
        variables = [filled, *method.trainable_variables]
        gradients = [np.array(g) for g in tape.gradient(loss, variables)]
        assert (gradients[0][~mask] == 0).all()
        figures = [float(term.mean()) for term in terms.values()]
        results.append([figures, *gradients, *method.get_weights()])
        assert terms["adaptive"].values.shape == (6,)
        assert float(loss) == pytest.approx(expected, rel=1e-4)
        assert figures[2] == pytest.approx(log_variances.mean(), rel=1e-4)
        assert figures[3] > 0
        assert 1 <= figures[4] <= mask.sum()
        assert figures[5] == pytest.approx(correlation, rel=1e-4)
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_padding_may_hold_any_finite_number():
    method = on_boxes(Boxes(teacher_dim=4), (3, 4), start_at_residual=True)
    method.term.compare = lambda rows: methods.Comparison(**rows)
    mask = np.array([[1, 1, 0], [1, 0, 0]], bool)
    results = []
    for far, filling in [(0.0, 0.0), (np.inf, 3e38)]:  # its square overflows
        draw = np.random.default_rng(2)
        given = {}
        for name, value in (("distance", far), ("features", filling)):
            filled = np.where(mask[..., None], draw.uniform(size=(2, 3, 4)), value)
            given[name] = tf.Variable(filled.astype("f4"))
        with tf.GradientTape() as tape:
            terms = method.terms(batch_of({**given, "mask": mask}))
            loss = total(terms)
        variables = [*given.values(), *method.trainable_variables]
        found = [np.array(g) for g in tape.gradient(loss, variables)]
        results.append([[float(t.mean()) for t in terms.values()], *found])
    assert np.isfinite(results[0][0]).all()
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mask_that_lets_all_through_changes_nothing():
    method = on_boxes(Boxes(teacher_dim=4), (3, 4), "per_sample")
    student, teacher = rng.normal(size=(2, 5, 3, 4)).astype("f4")
    rows = {"student": student, "teacher": teacher}
    bare = method.terms(batch_of(rows))
    masked = method.terms(batch_of({**rows, "mask": np.ones((5, 3), bool)}))
    for name, term in bare.items():
        np.testing.assert_allclose(masked[name].mean(), term.mean(), rtol=1e-4)


def test_the_start_is_measured_on_what_is_no_padding():
    method = kd.PAD(Boxes(teacher_dim=2), warm_up=9, start_at_residual=True)
    method.build({"output": (None, 9), "boxes": (None, 3, 2)})
    student, teacher = rng.normal(size=(2, 2, 3, 2)).astype("f4")
    mask = np.array([[1, 1, 0], [1, 0, 0]], bool)
    empty = np.zeros_like(mask)
    for valid in (empty, mask, empty, mask):  # what is empty measures nothing
        filled = np.where(valid[..., None], student, 1e6)
        rows = {"student": filled, "teacher": teacher, "mask": valid}
        method.terms(batch_of(rows))
    expected = np.square(teacher - student)[mask].mean(0)
    np.testing.assert_allclose(method.head.residual, expected, rtol=1e-5)
    assert int(method.head.measured) == 2


def test_a_head_of_its_own_layer_sees_an_image_where_boxes_are_padding():
    method = kd.PAD(Boxes(teacher_dim=4), warm_up=1, head_layer="pooled")
    method.build({"output": (None, 9), "boxes": (None, 3, 4), "pooled": (None, 5)})
    boxes, others = rng.normal(size=(2, 6, 3, 4)).astype("f4")
    pooled = rng.normal(size=(6, 5)).astype("f4")
    method.steps.assign(1)
    mask = rng.uniform(size=(6, 3)) < 0.6
    mask[0] = False
    views = methods.Views(None, {"boxes": boxes, "pooled": pooled}, None)
    views = dataclasses.replace(views, teacher_layers={"boxes": others})
    rows = {**method.rows(views), "mask": mask}
    loss = total(method.terms(batch_of(rows)))
    s = np.array(method.head(pooled, training=True))[:, None]
    values = (others - boxes) ** 2 / (1e-6 + np.exp(s)) + s
    images = [v[m].mean() if m.any() else 0 for v, m in zip(values, mask, strict=True)]
    assert float(loss) == pytest.approx(np.mean(images), rel=1e-4)
