"""PAD is the formula of the paper, in its phases, and stays out of the student."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from keras import layers, ops

import keras_distill as kd
from keras_distill import methods
from keras_distill.methods.adaptive_weighting import adaptive_weight, adaptive_weighting
from keras_distill.methods.rkd_distance import rkd_distance
from keras_distill.tflite.graph import read_graph
from tests.two_replicas import same_update

EXAMPLES = [
    methods.PAD(
        methods.FeatureL2(weight=2.0, teacher_dim=6),
        weight=3.0,
        variance="per_sample",
        warm_up=7,
        epsilon=1e-4,
        detach=True,
        log_variance_range=(-5.0, 5.0),
        start_at_residual=True,
        head_layer="pooled",
        name="other",
    )
]

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 6, 6, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 3).astype("i4")
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS))


def close_gradient(actual, reference):
    np.testing.assert_allclose(actual, reference, rtol=1e-4, atol=1e-6)


# The formula.


def weighed(file, distance):
    """Mean loss of the file's log-variances, with the tape that saw it."""
    log_variance = tf.Variable(file["log_var"].astype("f4"))
    with tf.GradientTape(persistent=True) as tape:
        values = adaptive_weighting(distance(tape), log_variance, float(file["eps"]))
        loss = tf.reduce_mean(values)
    return values, loss, log_variance, tape


def test_is_the_loss_of_the_paper_one_variance_a_dimension(reference):
    file = reference("pad_l2_perdim_eps1e-6")
    student = tf.Variable(file["student"].astype("f4"))
    values, loss, log_variance, tape = weighed(
        file, lambda _: methods.FeatureL2().distance(file["teacher"], student)
    )
    np.testing.assert_allclose(
        tf.reduce_mean(values, 1), file["per_sample"], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5)
    weight = adaptive_weight(log_variance, float(file["eps"]))
    np.testing.assert_allclose(weight, file["weight"], rtol=1e-5, atol=1e-6)
    close_gradient(tape.gradient(loss, student), file["grad_student"])
    close_gradient(tape.gradient(loss, log_variance), file["grad_log_var"])


def test_weighs_any_distance_of_a_sample(reference):
    file = reference("pad_generic")  # one of the distances is 0
    distance = tf.Variable(file["distance"].astype("f4"))
    values, loss, log_variance, tape = weighed(file, lambda _: distance)
    np.testing.assert_allclose(values, file["per_sample"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5)
    weight = adaptive_weight(log_variance, float(file["eps"]))
    np.testing.assert_allclose(weight, file["weight"], rtol=1e-5, atol=1e-6)
    close_gradient(tape.gradient(loss, distance), file["grad_distance"])
    close_gradient(tape.gradient(loss, log_variance), file["grad_log_var"])


def test_weighs_the_rows_of_a_relational_distance(reference):
    file = reference("pad_rkd_rows")
    student = tf.Variable(file["student"].astype("f4"))
    values, loss, log_variance, tape = weighed(
        file, lambda _: rkd_distance(file["teacher"], student)
    )
    np.testing.assert_allclose(values, file["per_sample"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5, atol=1e-6)
    close_gradient(tape.gradient(loss, student), file["grad_student"])
    close_gradient(tape.gradient(loss, log_variance), file["grad_log_var"])


@pytest.mark.parametrize("epsilon", [1e-2, 1e-6, 1e-30, 0.0])
def test_no_uncertainty_is_too_small_or_too_large(epsilon):
    uncertainties = [-1e3, -40.0, -30.0, -12.0, 0.0, 12.0, 40.0, 45.0, 85.0, 1e3]
    s = np.repeat(uncertainties, 3)
    d = np.tile([0.0, 1e-6, 3.0], len(uncertainties))
    log_variance = tf.Variable(s.astype("f4"))
    distance = tf.Variable(d.astype("f4"))
    with tf.GradientTape() as tape:
        values = adaptive_weighting(distance, log_variance, epsilon)
    gradients = tape.gradient(values, [log_variance, distance])
    assert np.isfinite(values[d == 0]).all()
    assert np.isfinite(gradients).all()
    # Beside it float32 ends, if nothing limits the weight.
    inside = s >= (-1e3 if epsilon else -40)
    s, d = s[inside].astype("longdouble"), d[inside].astype("f4")
    quotient = d / (epsilon + np.exp(s))
    np.testing.assert_allclose(values[inside], quotient + s, rtol=1e-4, atol=1e-5)
    share = np.exp(s) / (epsilon + np.exp(s))
    close_gradient(gradients[0][inside], 1 - quotient * share)
    weight = 1 / (epsilon + np.exp(s))
    np.testing.assert_allclose(gradients[1][inside], weight, rtol=1e-4, atol=1e-30)


def test_the_best_uncertainty_is_the_distance_and_the_loss_is_negative():
    distance = np.array([1e-4, 0.01, 0.3], "f4")
    log_variance = tf.Variable(np.log(distance))
    with tf.GradientTape() as tape:
        values = adaptive_weighting(distance, log_variance, epsilon=0)
    np.testing.assert_allclose(tape.gradient(values, log_variance), 0, atol=1e-5)
    np.testing.assert_allclose(values, 1 + np.log(distance), rtol=1e-5)
    assert (np.array(values) < 0).all()


def test_computes_in_float32_and_keeps_the_shape_of_the_distance():
    values = adaptive_weighting(np.ones((2, 3), "f2"), np.full((2, 1), 12, "f2"))
    assert values.dtype == "float32"
    np.testing.assert_allclose(values, np.full((2, 3), np.exp(-12) + 12), rtol=1e-6)
    with pytest.raises(ValueError, match=r"no more axes.*shape=\(4, 1\).*shape=\(4,\)"):
        adaptive_weighting(np.ones(4), np.zeros((4, 1)))


def method_of(file, detach):
    """PAD-L2 with the head of a reference file, past its warm-up."""
    width = file["student"].shape[1]
    method = kd.PAD(methods.FeatureL2(teacher_dim=width), warm_up=1, detach=detach)
    method.build({"output": (None, width)})
    method.head.dense.set_weights([file["kernel"], file["bias"]])
    method.head.norm.gamma.assign(file["gamma"])
    method.head.norm.beta.assign(file["beta"])
    method.steps.assign(1)
    return method


def batch_of(rows, training=True, embeddings=None):
    return methods.Batch(None, None, embeddings, rows, training)


def total(terms):
    return sum(t.weight * t.mean() for t in terms.values() if t.weight is not None)


@pytest.mark.parametrize("detach", [False, True])
def test_the_head_is_the_reference_in_value_and_gradient(reference, detach):
    file = reference("pad_head_bneps1e-5")
    method = method_of(file, detach)
    student = tf.Variable(file["student"].astype("f4"))
    teacher = file["teacher"].astype("f4")
    with tf.GradientTape() as tape:
        views = methods.Views(student, {}, teacher, training=True)
        terms = method.terms(batch_of(method.rows(views), embeddings=student))
        loss = total(terms)
    np.testing.assert_allclose(loss, file["loss"], rtol=1e-5)
    np.testing.assert_allclose(
        terms["log_variance"].mean(), file["log_var"].mean(), rtol=1e-4
    )
    norm, dense = method.head.norm, method.head.dense
    np.testing.assert_allclose(norm.moving_mean, 0.1 * file["batch_mean"], rtol=1e-4)
    np.testing.assert_allclose(
        norm.moving_variance, 0.9 + 0.1 * file["batch_var_population"], rtol=1e-4
    )
    assert (norm.epsilon, norm.momentum) == (1e-5, 0.9)
    gradients = tape.gradient(
        loss, [student, dense.kernel, dense.bias, norm.gamma, norm.beta]
    )
    way = "head_detached" if detach else "through_head"
    names = [f"student_{way}", "kernel", "bias", "gamma", "beta"]
    for gradient, name in zip(gradients, names, strict=True):
        close_gradient(gradient, file[f"grad_{name}"])
    apart = file["grad_student_head_detached"] - file["grad_student_through_head"]
    assert np.abs(apart).max() > 1e-2


# Boxes and cells.


class Boxes(methods.TeacherTerm):
    """Squared differences of the features of each box; padding is not a box."""

    per_dim = True
    same_width = True

    def __init__(self, **kwargs):
        super().__init__(1.0, "boxes", "boxes", name="boxes", **kwargs)

    def distance(self, teacher, student):
        return ops.square(teacher - student)

    def compare(self, rows):
        return super().compare(rows)._replace(mask=rows.get("mask"))


class OneABox(Boxes):
    """The same with one distance a box."""

    per_dim = False
    same_width = False

    def compare(self, rows):
        distance = ops.mean(self.distance(rows["teacher"], rows["student"]), -1)
        return methods.Comparison(distance, rows["student"], rows.get("mask"))


def on_boxes(term, shape, variance=None, **options):
    method = kd.PAD(term, 1.0, variance, warm_up=1, **options)
    method.build({"output": (None, 9), "boxes": (None, *shape)})
    draw = np.random.default_rng(1)
    dense = method.head.dense
    dense.set_weights([draw.normal(size=w.shape) for w in dense.get_weights()])
    method.head.norm.gamma.assign(draw.uniform(0.5, 1, method.head.width))
    method.head.norm.beta.assign(draw.normal(size=method.head.width))
    method.steps.assign(1)
    return method


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


# In `fit`.


def student(dim=3):
    images = keras.Input((6, 6, 1), name="image")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.Conv2D(4, 3, activation="relu", name="features")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(dim, name="projection")(x)
    return keras.Model(images, kd.layers.L2Normalization(name="embedding")(x))


def teacher(dim=5):
    images = keras.Input((6, 6, 1))
    x = layers.Conv2D(6, 3, activation="relu", name="features")(images)
    x = layers.GlobalAveragePooling2D(name="pooled")(x / 255)
    return keras.Model(images, layers.Dense(dim)(x), name="teacher")


TEACHER = teacher()


def compiled(*pads, net=None, loss=None, optimizer=None, **options):
    distiller = kd.Distiller(net or student(), pads, teacher=TEACHER)
    distiller.compile(optimizer or keras.optimizers.Adam(1e-2), loss, **options)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]


@pytest.mark.parametrize(
    "policy, jit_compile, terms",
    [
        ("float32", False, [methods.RKDDistance, methods.FeatureL2]),
        ("mixed_float16", False, [methods.RKDDistance, methods.FeatureL2]),
        ("mixed_float16", True, [methods.FeatureL2]),
    ],
)
def test_fit_trains_and_leaves_the_student_bare(policy, jit_compile, terms):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        net = student()
        bare = [v.path for v in net.variables]
        pads = [kd.PAD(term(), warm_up=3) for term in terms]
        distiller = compiled(*pads, net=net, jit_compile=jit_compile)
        logs = distiller.fit(DATA.repeat(3), epochs=5, verbose=0).history
    finally:
        keras.config.set_dtype_policy(before)
    assert [v.path for v in net.variables] == bare
    assert np.isfinite(list(logs.values())).all()
    assert logs["loss"][-1] < logs["loss"][1]
    for pad in pads:
        assert {f"{pad.name}_{name}" for name in pad.term_names} < set(logs)
        parts = pad.head, pad.head.dense, pad.head.norm
        assert {part.compute_dtype for part in parts} == {"float32"}


def test_every_term_can_be_wrapped():
    net = student()
    logits = layers.Dense(6, name="logits")(net.get_layer("flat").output)
    net = keras.Model(net.inputs, [net.outputs[0], logits])
    maps = {"student_layer": "features", "teacher_layer": "features"}
    terms = [
        methods.FeatureL2(),
        methods.FeatureL2(**maps, name="maps"),
        methods.FeatureCosine(),
        methods.RelationalKL(),
        methods.RKDAngle(),
        methods.RKDDistance(),
        methods.SimilarityPreserving(**maps),
        methods.AttentionTransfer(**maps),
        methods.SoftTargets(student_layer="logits", teacher_layer="pooled"),
    ]
    pads = [kd.PAD(term, warm_up=1) for term in terms]
    distiller = compiled(*pads, net=net, run_eagerly=True)
    logs = distiller.fit(DATA.repeat(3), verbose=0).history
    assert np.isfinite(list(logs.values())).all()
    widths = {"pad_feature_l2": 5, "pad_maps": 6}
    for pad in pads:
        assert pad.head.width == widths.get(pad.name, 1)
        assert abs(logs[f"{pad.name}_log_variance"][0]) > 1e-5  # it has moved


@pytest.mark.parametrize("term", [methods.RKDDistance, methods.FeatureL2])
def test_the_head_reads_the_layer_that_it_is_given(term, tmp_path):
    method = kd.PAD(term(), head_layer="flat", warm_up=1)
    distiller = compiled(method)
    flat = kd.models.tap(distiller.student, ["flat"])
    distiller.fit(DATA.repeat(3), verbose=0)
    assert method.head.dense.kernel.shape[0] == flat.output["flat"].shape[-1] == 64
    logs = distiller.evaluate(DATA, verbose=0, return_dict=True)
    seen = method.head(flat(IMAGES)["flat"], training=False)
    expected = pytest.approx(np.mean(seen), rel=1e-3)
    assert logs[f"{method.name}_log_variance"] == expected
    assert np.abs(seen).max() > 1e-3
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    loaded.set_teacher(TEACHER)
    assert loaded.evaluate(DATA, verbose=0, return_dict=True) == pytest.approx(logs)


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


def test_refuses_a_head_layer_of_maps():
    method = kd.PAD(methods.RKDDistance(), head_layer="features")
    message = (
        r"`head_layer` must give one row.*head_layer='features'.*\(None, 4, 4, 4\)"
    )
    with pytest.raises(ValueError, match=message):
        compiled(method)


def test_the_warm_up_ends_exactly_at_its_step():
    method = kd.PAD(methods.FeatureL2(weight=15.0), weight=2.0, warm_up=3)
    distiller = compiled(method)
    fresh = [np.array(v) for v in method.head.trainable_variables]
    for step in range(5):
        logs = distiller.fit(DATA, verbose=0).history
        logs = {key.removeprefix("pad_feature_l2_"): v[0] for key, v in logs.items()}
        expected = 15 * logs["distance"] if step < 3 else 2 * logs["adaptive"]
        assert logs["loss"] == pytest.approx(expected, rel=1e-5)
        still = [
            np.array_equal(old, new)
            for old, new in zip(fresh, method.head.trainable_variables, strict=True)
        ]
        # The bias before a batch normalisation has no gradient but rounding.
        assert all(still) if step < 3 else not any(still[::2] + still[3:])
        moved = np.abs(np.array(method.head.norm.moving_mean)).max()
        assert moved > 0  # its averages may run all the while
        seen = distiller.evaluate(DATA, verbose=0, return_dict=True)
        key, weight = ("distance", 15) if step < 2 else ("adaptive", 2)
        expected = weight * seen[f"pad_feature_l2_{key}"]
        assert seen["loss"] == pytest.approx(expected, rel=1e-5)
        assert int(method.steps) == step + 1  # evaluation does not count


def test_in_the_warm_up_the_head_gets_exactly_no_gradient():
    method = on_boxes(Boxes(teacher_dim=4), (3, 4))
    method.steps.assign(0)
    student, teacher = rng.normal(size=(2, 5, 3, 4)).astype("f4")
    student = tf.Variable(student)
    for warm in (False, True):
        with tf.GradientTape(persistent=True) as tape:
            rows = {"student": student, "teacher": teacher}
            loss = total(method.terms(batch_of(rows)))
            plain = total(method.term.terms(batch_of(rows)))
        gradients = tape.gradient(loss, method.head.trainable_variables)
        assert (
            all(np.any(g) for g in gradients[2:])
            if warm
            else not np.any(np.concatenate([np.ravel(g) for g in gradients]))
        )
        same = np.allclose(
            tape.gradient(loss, student), tape.gradient(plain, student), rtol=1e-6
        )
        assert same is not warm


def test_trains_as_the_bare_term_until_the_warm_up_ends():
    runs = []
    for wrap in (lambda term: term, lambda term: kd.PAD(term, warm_up=4)):
        keras.utils.set_random_seed(1)
        distiller = compiled(wrap(methods.RKDDistance(weight=7.0)))
        distiller.fit(DATA.repeat(4), verbose=0)
        runs.append(values(distiller.student))
        distiller.fit(DATA.repeat(2), verbose=0)
        runs.append(values(distiller.student))
    for plain, pad in zip(runs[0], runs[2], strict=True):
        np.testing.assert_allclose(plain, pad, rtol=1e-4, atol=1e-6)
    assert any(not np.allclose(a, b) for a, b in zip(runs[1], runs[3], strict=True))


def test_sample_weights_weigh_images():
    term = methods.FeatureL2(weight=3.0)
    distiller = compiled(kd.PAD(term, warm_up=1))
    weights = np.array([2.0, 0.0] * 6, "f4")
    logs = distiller.evaluate(
        IMAGES, LABELS, 12, verbose=0, sample_weight=weights, return_dict=True
    )
    plain = term.distance(TEACHER(IMAGES), term.projection(distiller.student(IMAGES)))
    expected = 3 * np.mean(weights * np.mean(plain, 1))
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


def test_the_head_starts_at_the_residual_of_the_warm_up():
    method = kd.PAD(methods.FeatureL2(), warm_up=3, start_at_residual=True)
    distiller = compiled(method)
    residuals = []
    for _ in range(5):
        shown = distiller.student(IMAGES), TEACHER(IMAGES)
        d = method.term.distance(shown[1], method.term.projection(shown[0]))
        residuals.append(np.mean(d, 0))
        logs = distiller.fit(DATA, verbose=0).history
        seen = np.mean(residuals[:3], 0)
        np.testing.assert_allclose(method.head.residual, seen, rtol=1e-3)
        # Neither bias of the head has moved yet: the mean of s is the start.
        if len(residuals) <= 4:
            found = logs["pad_feature_l2_log_variance"][0]
            assert found == pytest.approx(np.log(seen).mean(), rel=1e-3)
    assert not np.allclose(residuals[3], residuals[2], rtol=1e-3)


def test_the_start_forgets_how_far_the_student_was_at_first():
    method = kd.PAD(Boxes(teacher_dim=1), warm_up=10**6, start_at_residual=True)
    method.build({"output": (None, 9), "boxes": (None, 1)})
    measure = tf.function(method.head.measure)
    running = 0.0
    for step in range(300):
        value = 100.0 if step == 0 else 1.0
        measure(tf.fill((2, 1), value), None, tf.constant(True))
        running += (value - running) / min(step + 1, 100)
    np.testing.assert_allclose(method.head.residual, running, rtol=1e-4)


def test_log_variances_are_cut_off_at_their_range():
    method = on_boxes(Boxes(teacher_dim=4), (3, 4), log_variance_range=(-0.5, 0.25))
    student, teacher = rng.normal(size=(2, 5, 3, 4)).astype("f4")
    seen = np.array(method.head(student, training=True))
    assert (seen.min(), seen.max()) == (-0.5, 0.25)
    logs = method.terms(batch_of({"student": student, "teacher": teacher}))
    assert np.exp(-0.25) < float(logs["weight"].values) < np.exp(0.5)


@pytest.mark.parametrize("term", [methods.FeatureL2, methods.RKDDistance])
def test_a_batch_of_one_trains(term):
    distiller = compiled(kd.PAD(term(), warm_up=1, start_at_residual=True))
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(1).take(4)
    assert np.isfinite(list(distiller.fit(data, verbose=0).history.values())).all()
    assert all(np.isfinite(v).all() for v in values(distiller))


@pytest.mark.parametrize("steps", [2, 5])  # in the warm-up, and after it
def test_a_loaded_distiller_trains_on_bit_by_bit(tmp_path, steps):
    method = kd.PAD(methods.FeatureL2(), warm_up=4, start_at_residual=True)
    distiller = compiled(method, loss=kd.losses.MultiSimilarity(epsilon=None))
    distiller.fit(DATA.repeat(steps), verbose=0)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert int(loaded.methods[0].steps) == steps
    loaded.set_teacher(TEACHER)
    ours = distiller.fit(DATA.repeat(4), verbose=0).history
    theirs = loaded.fit(DATA.repeat(4), verbose=0).history
    assert ours == theirs
    for a, b in zip(values(distiller), values(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_replicas_make_the_update_of_one():
    program = """
        rng = np.random.default_rng(0)
        images = rng.uniform(-1, 1, (16, 5)).astype("f4")
        data = tf.data.Dataset.from_tensor_slices((images, np.arange(16)))
        data = data.batch(16).repeat(6)

        def net(*widths):
            x = inputs = keras.Input((5,))
            for width in widths:
                x = layers.Dense(width, "tanh")(x)
            return keras.Model(inputs, x)

        def run(strategy):
            with strategy.scope():
                pads = [
                    kd.PAD(methods.FeatureL2(), warm_up=2, start_at_residual=True),
                    kd.PAD(methods.RKDDistance(), warm_up=3),
                ]
                distiller = kd.Distiller(net(7, 4), pads, teacher=net(9))
                distiller.compile(keras.optimizers.SGD(0.05))
                # Another order of creation must not give another start.
                weights = np.random.default_rng(1)
                for v in distiller.trainable_variables + distiller.teacher.variables:
                    v.assign(weights.normal(size=v.shape))
            history = distiller.fit(data, verbose=0).history
            steps = [int(pad.steps.numpy()) for pad in pads]
            assert steps == [6, 6]
            return history, [v.numpy() for v in distiller.variables]
    """
    same_update(program)


def test_head_and_projection_never_reach_the_exported_student():
    net = student()
    method = kd.PAD(methods.FeatureL2(), warm_up=1)
    distiller = compiled(method, net=net)
    distiller.fit(DATA.repeat(3), verbose=0)
    assert method.term.projection is not None
    bare = student()
    bare.set_weights(distiller.student.get_weights())
    assert distiller.student.count_params() == bare.count_params()
    assert len(distiller.trainable_variables) == len(bare.trainable_variables) + 5
    np.testing.assert_array_equal(distiller.student(IMAGES), bare(IMAGES))
    trained, plain = (
        read_graph(kd.tflite.convert(model)) for model in (distiller, bare)
    )
    names = [operator.name for operator in trained.operators]
    assert names == [operator.name for operator in plain.operators]
    assert names.count("FULLY_CONNECTED") == 1


def test_the_head_finds_the_lessons_that_cannot_be_learned():
    draw = np.random.default_rng(0)
    images = draw.uniform(-1, 1, (256, 4)).astype("f4")
    lessons = np.stack([images[:, 0] + images[:, 1], images[:, 2] ** 2], 1)
    noisy = images[:, 3] > 0.3  # to be seen in the image; the noise itself is not
    lessons[noisy] += draw.normal(0, 2, (noisy.sum(), 2))
    data = tf.data.Dataset.from_tensor_slices(
        {"image": images, "teacher_embedding": lessons.astype("f4")}
    )
    inputs = keras.Input((4,))
    x = layers.Dense(16, "tanh")(inputs)
    net = keras.Model(inputs, layers.Dense(2)(x))
    method = kd.PAD(methods.FeatureL2(teacher_dim=2), warm_up=50)
    distiller = kd.Distiller(net, [method])
    distiller.compile(keras.optimizers.Adam(1e-2))
    batches = data.map(lambda x: (x, 0)).shuffle(256, seed=0).batch(64)
    logs = distiller.fit(batches, epochs=60, verbose=0).history
    assert logs["pad_feature_l2_rank_correlation"][-1] > 0.3
    uncertainty = np.mean(method.head(net(images), training=False), 1)
    assert uncertainty[noisy].mean() > uncertainty[~noisy].mean() + 1


# What is refused.


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"weight": -1.0}, "not negative.*weight=-1.0"),
        ({"epsilon": float("nan")}, "not negative.*epsilon=nan"),
        ({"variance": "per_pixel"}, "one of.*variance='per_pixel'"),
        ({"variance": "per_dim"}, "'relational_kl' has one distance.*'per_dim'"),
        ({"warm_up": 0}, "1 or more: before the student follows.*warm_up=0"),
        ({"warm_up": 2.0}, "an integer, 1 or more.*warm_up=2.0"),
        ({"warm_up": True}, "an integer, 1 or more.*warm_up=True"),
        ({"log_variance_range": (1, 1)}, r"low < high.*log_variance_range=\(1, 1\)"),
        ({"log_variance_range": (-1, float("inf"))}, "two finite floats"),
        ({"log_variance_range": (1,)}, "two finite floats"),
    ],
)
def test_refuses_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        kd.PAD(methods.RelationalKL(), **arguments)


@pytest.mark.parametrize("term", [kd.S2SD((8,)), "l2"])
def test_refuses_what_has_no_distance_to_weigh(term):
    with pytest.raises(TypeError, match="must be a methods.TeacherTerm.*Received"):
        kd.PAD(term)


def test_refuses_a_student_that_does_not_know_its_width():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, images):
            return self.dense(images)

    net = Net()
    net(np.ones((1, 4)))
    with pytest.raises(ValueError, match=r"how wide the student's.*\(None, None\)"):
        kd.Distiller(net, [kd.PAD(methods.RelationalKL())])


def test_is_named_after_its_term_and_keeps_what_the_term_has_become():
    method = kd.PAD(methods.FeatureL2(name="l2"), warm_up=2)
    assert method.name == "pad_l2"
    method.take_teacher(TEACHER, None)
    saved = json.loads(json.dumps(method.get_config()))
    assert kd.PAD.from_config(saved).term.teacher_dim == 5
