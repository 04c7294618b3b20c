"""The losses of global knowledge: the authors' figures and float64 formulas."""

import numpy as np
import pytest
import tensorflow as tf

from keras_distill.methods import robust_distillation as rdm
from keras_distill.methods.instances import (
    foreground_mask,
    instance_levels,
    pool_instances,
)

LEVELS = range(3)
rng = np.random.default_rng(0)


def total(r, student, adapted, logits):
    """All of a step of the authors' one-stage form, from maps to the total."""
    boxes, labels = r["boxes_xyxy"], r["labels"]
    present = labels >= 0
    starts = r["proto_start"]
    classes = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    level_of = instance_levels(boxes, 3)
    out, parts = {}, []
    soft_weights = tf.zeros(labels.shape)
    for i in LEVELS:
        stride = int(r["strides"][i])
        pooled = pool_instances(student[i], boxes, stride)
        taught = pool_instances(r[f"teacher_feat_{i}"], boxes, stride)
        ours = rdm.coefficients(pooled, r[f"proto_student_{i}"])
        theirs = rdm.coefficients(taught, r[f"proto_teacher_{i}"])
        weights = rdm.discrepancy_weights(ours, theirs, labels, classes)
        weights = tf.where(present, weights, 0.0)
        values = rdm.global_loss(ours, theirs, weights)
        fade = float(r["attenuation"])
        loss = float(r["pair_wise_factor"]) * fade
        loss *= tf.reduce_mean(over_instances(values, present))
        here = level_of == i
        grid = r[f"teacher_feat_{i}"].shape[1:3]
        mask = foreground_mask(boxes, weights, present & here, grid, stride)
        sums = rdm.local_sums(adapted[i], r[f"teacher_feat_{i}"], mask)
        fg, bg = map(tf.reduce_mean, rdm.local_losses(sums))
        fg = float(r["fg_weight"]) * fade * fg
        bg = float(r["bg_weight"]) * fade * bg
        soft_weights = tf.where(here, weights, soft_weights)
        parts += [loss, fg, bg]
        out[i] = pooled, taught, ours, theirs, weights, loss, fg, bg
    soft = rdm.soft_label_loss(
        logits, r["teacher_logits"], soft_weights[present], float(r["kd_temperature"])
    )
    out["soft"] = soft_weights[present], tf.reduce_mean(soft)
    out["total"] = tf.add_n(parts) + out["soft"][1]
    return out


def over_instances(values, present):
    """Shares of the images, of values (B, M) that may be padding."""
    kept = tf.where(present, values, 0.0)
    return rdm.mean_shares(
        tf.reduce_sum(kept, 1), tf.reduce_sum(tf.cast(present, "float32"), 1)
    )


@pytest.fixture
def figures(reference):
    r = reference("gk_rdm_a")
    student = [tf.Variable(r[f"student_feat_{i}"]) for i in LEVELS]
    adapted = [tf.Variable(r[f"student_adapted_feat_{i}"]) for i in LEVELS]
    logits = tf.Variable(r["student_logits"])
    with tf.GradientTape(persistent=True) as tape:
        out = total(r, student, adapted, logits)
        parts = [out[i][5] for i in LEVELS]
    variables = student, adapted, logits
    return r, out, tape, variables, parts


def near(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def near_gradient(ours, theirs):
    atol = 1e-6 + 1e-4 * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_values_are_the_authors(figures):
    r, out, *_ = figures
    there = r["labels"] >= 0
    for i in LEVELS:
        pooled, taught, ours, theirs, weights, loss, fg, bg = out[i]
        near(pooled[there], r[f"pooled_student_{i}"])
        near(taught[there], r[f"pooled_teacher_{i}"])
        near(ours[there], r[f"coef_student_{i}"])
        near(theirs[there], r[f"coef_teacher_{i}"])
        near(weights, r[f"robust_weights_{i}"])
        near(loss, r[f"loss_global_{i}"])
        near(fg, r[f"loss_local_fg_{i}"])
        near(bg, r[f"loss_local_bg_{i}"])
    near(out["soft"][0], r["soft_weights"])
    near(out["soft"][1], r["loss_soft"][0])
    near(out["total"], r["loss_total"])


def test_gradients_are_the_authors(figures):
    r, out, tape, (student, adapted, logits), parts = figures
    for i in LEVELS:
        near_gradient(
            tape.gradient(parts[i], student[i]), r[f"grad_global_student_feat_{i}"]
        )
        near_gradient(
            tape.gradient(out["total"], student[i]), r[f"grad_total_student_feat_{i}"]
        )
        near_gradient(
            tape.gradient(out["total"], adapted[i]),
            r[f"grad_total_student_adapted_feat_{i}"],
        )
    near_gradient(tape.gradient(out["total"], logits), r["grad_total_student_logits"])


def test_xla_computes_the_same(reference):
    r = reference("gk_rdm_a")

    @tf.function(jit_compile=True)
    def compiled():
        return total(
            r,
            [tf.constant(r[f"student_feat_{i}"]) for i in LEVELS],
            [tf.constant(r[f"student_adapted_feat_{i}"]) for i in LEVELS],
            r["student_logits"],
        )["total"]

    near(compiled(), r["loss_total"])


# What the formulas say, beyond the figures.


def cosines(shape=(2, 4, 6)):
    return rng.uniform(-1, 1, (2, *shape)).astype("f4")


CLASSES = np.array([0, 0, 1, 1, 1, 2])


def test_weights_compare_the_nearest_prototypes_of_the_own_class():
    ours, theirs = cosines()
    labels = rng.integers(0, 3, (2, 4))
    weights = rdm.discrepancy_weights(ours, theirs, labels, CLASSES)
    for where in np.ndindex(2, 4):
        own = CLASSES == labels[where]
        gap = abs(ours[where][own].max() - theirs[where][own].max())
        assert float(weights[where]) == pytest.approx(1 - gap, abs=1e-6)


def test_a_class_without_prototypes_is_fully_trusted():
    ours, theirs = cosines()
    valid = CLASSES != 1
    labels = np.full((2, 4), 1)
    weights = rdm.discrepancy_weights(ours, theirs, labels, CLASSES, valid)
    np.testing.assert_array_equal(weights, 1.0)
    # and what stands in the places of its prototypes counts nowhere
    values = rdm.global_loss(ours, theirs, weights, valid)
    kept = rdm.global_loss(ours[..., valid], theirs[..., valid], weights)
    np.testing.assert_allclose(values, kept, rtol=1e-6)
    nothing = rdm.global_loss(ours, theirs, weights, np.zeros(6, bool))
    np.testing.assert_array_equal(nothing, 0.0)


def test_weights_may_be_negative_and_can_be_clipped():
    ours, theirs = np.full((1, 6), 0.9, "f4"), np.full((1, 6), -0.6, "f4")
    label = np.array([0])
    weight = rdm.discrepancy_weights(ours, theirs, label, CLASSES)
    np.testing.assert_allclose(weight, -0.5, rtol=1e-6)
    weight = rdm.discrepancy_weights(ours, theirs, label, CLASSES, clip=True)
    np.testing.assert_array_equal(weight, 0.0)


def test_the_weight_counts_squared_where_the_loss_is_quadratic():
    ours, theirs = cosines((5, 6))
    ours, theirs = ours / 2, theirs / 2
    whole = rdm.global_loss(ours, theirs, np.ones(5, "f4"))
    half = rdm.global_loss(ours, theirs, np.full(5, 0.5, "f4"))
    np.testing.assert_allclose(half, np.array(whole) / 4, rtol=1e-5)
    mean = np.mean((ours - theirs) ** 2, -1) / 2
    np.testing.assert_allclose(whole, mean, rtol=1e-5)


def test_beyond_one_the_loss_is_linear():
    value = rdm.global_loss(np.array([[1.0]]), np.array([[-0.8]]), np.ones(1))
    np.testing.assert_allclose(value, 1.8 - 0.5, rtol=1e-6)


def test_no_gradient_reaches_weights_prototypes_or_teacher():
    features = tf.Variable(rng.normal(size=(4, 5)), dtype="float32")
    taught = tf.Variable(rng.normal(size=(4, 7)), dtype="float32")
    prototypes = tf.Variable(rng.normal(size=(6, 5)), dtype="float32")
    atoms = tf.Variable(rng.normal(size=(6, 7)), dtype="float32")
    labels = np.array([0, 1, 2, 1])
    with tf.GradientTape() as tape:
        ours = rdm.coefficients(features, prototypes)
        theirs = rdm.coefficients(taught, atoms)
        weights = rdm.discrepancy_weights(ours, theirs, labels, CLASSES)
        loss = tf.reduce_sum(rdm.global_loss(ours, theirs, weights))
        loss += tf.reduce_sum(rdm.soft_label_loss(features, taught[:, :5], weights))
        maps = features[:, None, None], taught[:, None, None, :5]
        sums = rdm.local_sums(*maps, weights[:, None, None])
        loss += tf.reduce_sum(rdm.local_losses(sums)[0])
        variables = [features, taught, prototypes, atoms]
    gradients = tape.gradient(loss, variables)
    assert gradients[1:] == [None, None, None]
    assert np.abs(gradients[0]).max() > 0
    with tf.GradientTape() as tape:
        ours = rdm.coefficients(features, prototypes)
        weights = rdm.discrepancy_weights(ours, ours / 2, labels, CLASSES)
    assert tape.gradient(weights, features) is None


def test_coefficients_know_directions_alone():
    features, prototypes = rng.normal(size=(4, 5)), rng.normal(size=(6, 5))
    plain = rdm.coefficients(features, prototypes)
    scaled = rdm.coefficients(7 * features, 0.1 * prototypes)
    np.testing.assert_allclose(plain, scaled, rtol=1e-5, atol=1e-6)
    zero = rdm.coefficients(np.zeros((1, 5)), prototypes)
    np.testing.assert_array_equal(zero, 0.0)


def test_local_losses_are_half_the_mean_square_over_channels_too():
    student, teacher = rng.normal(size=(2, 2, 4, 5, 3)).astype("f4")
    mask = np.zeros((2, 4, 5), "f4")
    mask[0, 1:3, 1:4] = 1.0
    fg, bg = rdm.local_losses(rdm.local_sums(student, teacher, mask))
    squares = (student - teacher) ** 2
    inside = mask > 0
    np.testing.assert_allclose(np.mean(fg), squares[inside].mean() / 2, rtol=1e-5)
    np.testing.assert_allclose(np.mean(bg), squares[~inside].mean() / 2, rtol=1e-5)


def test_only_the_relation_of_weights_within_a_level_is_left():
    student, teacher = rng.normal(size=(2, 2, 4, 5, 3)).astype("f4")
    mask = rng.uniform(0.5, 1, (2, 4, 5)).astype("f4")
    one, _ = rdm.local_losses(rdm.local_sums(student, teacher, mask))
    half, _ = rdm.local_losses(rdm.local_sums(student, teacher, mask / 2))
    np.testing.assert_allclose(one, half, rtol=1e-5)


def test_a_level_without_instances_has_no_foreground_and_no_nan():
    student, teacher = rng.normal(size=(2, 2, 4, 5, 3)).astype("f4")
    nothing = np.zeros((2, 4, 5), "f4")
    fg, bg = rdm.local_losses(rdm.local_sums(student, teacher, nothing))
    np.testing.assert_array_equal(fg, 0.0)
    everything, nowhere = rdm.local_losses(
        rdm.local_sums(student, teacher, np.ones_like(nothing))
    )
    np.testing.assert_allclose(bg, everything, rtol=1e-6)
    np.testing.assert_array_equal(nowhere, 0.0)


def test_a_batch_without_instances_gives_zero():
    values = over_instances(np.ones((3, 4), "f4"), np.zeros((3, 4), bool))
    np.testing.assert_array_equal(values, 0.0)


def test_every_instance_counts_alike_however_images_share_them():
    values = rng.normal(size=(3, 4)).astype("f4")
    there = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
    shares = over_instances(values, there)
    np.testing.assert_allclose(np.mean(shares), values[there].mean(), rtol=1e-5)
    assert float(shares[1]) == 0.0


def test_soft_labels_are_a_mean_over_classes():
    student, teacher = rng.normal(size=(2, 4, 5))
    p, q = (np.exp(x / 3) for x in (teacher, student))
    p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
    divergence = np.sum(p * np.log(p / q), -1)
    values = rdm.soft_label_loss(student, teacher, np.full(4, 0.7), 3.0)
    np.testing.assert_allclose(values, 0.7 * 9 * divergence / 5, rtol=1e-5)


def test_maps_and_logits_of_other_shapes_are_refused():
    maps = np.zeros((1, 4, 5, 3), "f4"), np.zeros((1, 2, 3, 3), "f4")
    with pytest.raises(ValueError, match=r"one shape.*\(1, 2, 3, 3\)"):
        rdm.local_sums(*maps, np.zeros((1, 4, 5)))
    with pytest.raises(ValueError, match=r"one shape.*teacher.shape=\(2, 4\)"):
        rdm.soft_label_loss(np.zeros((2, 3)), np.zeros((2, 4)), np.ones(2))
