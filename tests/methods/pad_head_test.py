"""The head of PAD: what it reads, where it starts, what it finds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods
from keras_distill.tflite.graph import read_graph
from tests.methods.pad_cases import (
    DATA,
    IMAGES,
    TEACHER,
    Boxes,
    batch_of,
    close_gradient,
    compiled,
    on_boxes,
    student,
    total,
)

rng = np.random.default_rng(0)


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


def test_refuses_a_head_layer_of_maps():
    method = kd.PAD(methods.RKDDistance(), head_layer="features")
    message = (
        r"`head_layer` must give one row.*head_layer='features'.*\(None, 4, 4, 4\)"
    )
    with pytest.raises(ValueError, match=message):
        compiled(method)


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


def near_the_teacher(gap):
    """PAD past its warm-up, of features that all miss the teacher's by `gap`.

    The head adds nothing to the residual that it starts from.
    """
    term = methods.FeatureL2(teacher_dim=3)
    method = kd.PAD(term, warm_up=1, epsilon=0.0, start_at_residual=True)
    method.build({"output": (None, 3)})
    method.head.norm.gamma.assign(np.zeros(3))
    student = tf.Variable(rng.normal(size=(6, 3)).astype("f4"))
    rows = {"student": student, "teacher": np.array(student) + np.float32(gap)}
    method.terms(batch_of(rows))  # the warm-up
    with tf.GradientTape() as tape:
        loss = total(method.terms(batch_of(rows)))
    return float(loss), tape.gradient(loss, student)


def test_near_the_teacher_the_loss_is_negative_and_pulls_the_harder():
    for gap in (1e-1, 1e-2):
        loss, to_student = near_the_teacher(gap)
        assert loss == pytest.approx(1 + np.log(gap**2), rel=1e-3)
        np.testing.assert_allclose(to_student, -2 / gap / 18, rtol=1e-3)


def test_a_student_that_is_its_teacher_gets_finite_numbers():
    loss, to_student = near_the_teacher(0.0)
    assert loss == pytest.approx(np.log(1e-30), rel=1e-5)
    np.testing.assert_array_equal(to_student, np.zeros((6, 3)))


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
