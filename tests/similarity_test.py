import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import similarity

rng = np.random.default_rng(0)
A, B = rng.normal(size=(5, 8)), rng.normal(size=(3, 8))


def cosines(a, b):
    """In float64 and by loops."""
    return [[x @ z / np.linalg.norm(x) / np.linalg.norm(z) for z in b] for x in a]


def kl_rows(target, student, t):
    """The formula of `relational_kl`, in float64 and with no Keras."""
    p, q = (np.exp(np.array(cosines(e, e)) / t) for e in (target, student))
    p, q = p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return t**2 * (p * np.log(p / q)).sum(1)


def test_normalize_gives_rows_of_length_one():
    rows = A * np.array([[1e-6], [1e-3], [1.0], [1e3], [1e6]])
    expected = A / np.linalg.norm(A, axis=1, keepdims=True)
    np.testing.assert_allclose(similarity.normalize(rows), expected, atol=1e-6)


def test_normalize_works_along_any_axis():
    by_columns = similarity.normalize(A, axis=0)
    by_rows = similarity.normalize(A.T)
    np.testing.assert_allclose(by_columns, np.transpose(by_rows), atol=1e-7)


def test_a_zero_row_stays_zero_and_has_gradient_zero():
    x = tf.Variable([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        unit = similarity.normalize(x)
        value = tf.reduce_sum(unit * [[1.0, 2.0], [1.0, 2.0]])
    np.testing.assert_allclose(unit, [[0.0, 0.0], [0.6, 0.8]], atol=1e-7)
    gradient = tape.gradient(value, x).numpy()
    # Second row: (w - (w . u) u) / 5 for w = (1, 2), u = (.6, .8)
    np.testing.assert_allclose(gradient, [[0.0, 0.0], [-0.064, 0.048]], atol=1e-6)


def test_the_matrices_are_those_of_loops():
    distances = [[np.sum((x - z) ** 2) for z in B] for x in A]
    np.testing.assert_allclose(similarity.cosine_matrix(A, B), cosines(A, B), atol=1e-6)
    np.testing.assert_allclose(similarity.cosine_matrix(A), cosines(A, A), atol=1e-6)
    np.testing.assert_allclose(similarity.squared_distances(A, B), distances, rtol=1e-5)
    for metric, expected in [
        ("L2", np.sqrt(distances)),
        ("squared-L2", distances),
        ("angular", 1 - np.array(cosines(A, B))),
    ]:
        got = similarity.distances(A, B, metric=metric)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_rounding_does_not_make_a_distance_negative():
    x = 100 * rng.normal(size=(50, 8))
    squared = np.array(similarity.squared_distances(x, x.copy()))
    assert np.all(squared >= 0)
    np.testing.assert_allclose(np.diag(squared), 0, atol=0.1)  # 1e-7 of |x|**2


@pytest.mark.parametrize("metric", similarity.METRICS)
def test_distances_of_a_batch_to_itself(metric):
    batch = np.concatenate([A, A[:1], -A[:1], np.zeros((1, 8))])
    x = tf.Variable(batch, dtype=tf.float32)
    with tf.GradientTape() as tape:
        got = similarity.distances(x, metric=metric)
    assert np.all(np.diag(got) == 0) and np.all(got.numpy() >= 0)
    np.testing.assert_allclose(got, np.transpose(got), atol=1e-5)
    np.testing.assert_allclose(got[0, 5], 0, atol=3e-3)  # equal rows
    assert np.all(np.isfinite(tape.gradient(got, x)))


def test_the_gradient_of_the_distance_of_equal_rows_is_zero():
    x = tf.Variable([[1.0, 0.0], [1.0, 0.0]])
    with tf.GradientTape() as tape:
        value = similarity.distances(x)[0, 1]
    np.testing.assert_array_equal(tape.gradient(value, x), np.zeros((2, 2)))


def test_everything_is_float32_whatever_comes_in():
    with_half = [
        similarity.normalize(A.astype("float16")),
        similarity.cosine_matrix(A.astype("float16"), B),
        similarity.distances(A, B.astype("float16")),
        similarity.relational_kl(A.astype("float16"), A),
    ]
    assert {result.dtype for result in with_half} == {tf.float32}


@pytest.mark.parametrize("i", range(6))
def test_relational_kl_is_that_of_s2sd(reference, i):
    figures = reference("s2sd_kl_b16_ds64_dt256")
    student = tf.Variable(figures["in_student_raw"])
    target = tf.Variable(figures["in_target_raw"])
    with tf.GradientTape() as tape:
        rows = similarity.relational_kl(target, student, figures["hp_T"][i])
        loss = tf.reduce_mean(rows)
    to_student, to_target = tape.gradient(loss, [student, target])
    assert rows.shape == (16,) and to_target is None
    np.testing.assert_allclose(loss, figures["out_loss"][i], rtol=2e-4, atol=1e-9)
    expected = figures["grad_student_raw"][i]
    room = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(to_student, expected, rtol=0, atol=room)
    for name, matrix in [("student", student), ("target", target)]:
        got = similarity.cosine_matrix(matrix)
        np.testing.assert_allclose(got, figures[f"out_smat_{name}"], atol=2e-6)


@pytest.mark.parametrize("t", [0.1, 1.0, 4.0])
def test_each_row_of_relational_kl_is_the_formula(t):
    student = rng.normal(size=(5, 3))
    rows = similarity.relational_kl(A, student, t)
    np.testing.assert_allclose(rows, kl_rows(A, student, t), rtol=1e-4)


def test_relational_kl_knows_how_impossible_the_impossible_is():
    # Rows alike, and rows at 120 degrees: at this temperature a likeness of e^-150,
    # which is 0 in float32 and has no logarithm there.
    t, alike = 0.01, np.array([[1.0, 0.0], [1.0, 0.0]])
    apart = np.array([[1.0, 0.0], [-0.5, 0.75**0.5]])
    student = tf.Variable(apart)
    with tf.GradientTape() as tape:
        rows = similarity.relational_kl(alike, student, t)
    np.testing.assert_allclose(rows, t**2 * (150 / 2 - np.log(2)), rtol=1e-4)
    # Towards each other, along the circle.
    expected = t * np.array([[0.0, -(0.75**0.5)], [-0.75, -(0.75**0.5) / 2]])
    np.testing.assert_allclose(tape.gradient(rows, student), expected, rtol=1e-4)
    # The other way about e^-150 counts nothing.
    rows = similarity.relational_kl(apart, alike, t)
    np.testing.assert_allclose(rows, t**2 * np.log(2), rtol=1e-4)


def test_relational_kl_is_zero_for_a_rotated_and_scaled_target():
    rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    rows = similarity.relational_kl(A, 7.0 * A @ rotation)
    np.testing.assert_allclose(rows, 0.0, atol=1e-6)


def test_relational_kl_of_zero_rows_duplicates_and_one_example():
    student = tf.Variable(np.array([A[0], A[0], -A[0], 0 * A[0]]), dtype=tf.float32)
    for size in (1, 4):
        with tf.GradientTape() as tape:
            loss = similarity.relational_kl(A[:size], student[:size], 0.05)
        assert np.all(np.isfinite(loss))
        assert np.all(np.isfinite(tape.gradient(loss, student)))
    np.testing.assert_allclose(similarity.relational_kl(A[:1], B[:1]), [0.0], atol=1e-7)


def test_relational_kl_compiles_with_an_unknown_batch_size():
    shape = tf.TensorSpec([None, 8], tf.float32)
    compiled = tf.function(
        similarity.relational_kl, input_signature=[shape, shape], jit_compile=True
    )
    eager = similarity.relational_kl(A, A + 0.1)
    np.testing.assert_allclose(
        compiled(A.astype("f"), (A + 0.1).astype("f")), eager, rtol=1e-4, atol=1e-7
    )


def test_relational_kl_takes_a_scheduled_temperature():
    temperature = keras.Variable(2.0)
    rows = similarity.relational_kl(A, A + 0.1, temperature)
    np.testing.assert_allclose(rows, similarity.relational_kl(A, A + 0.1, 2.0))


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: similarity.relational_kl(A, A, 0.0),
            "positive and finite: similarities are divided by it.*temperature=0.0",
        ),
        (
            lambda: similarity.relational_kl(A, A, float("nan")),
            "positive and finite.*=nan",
        ),
        (lambda: similarity.relational_kl(A, B), r"same batch.*\(5, 8\).*\(3, 8\)"),
        (
            lambda: similarity.relational_kl(A, A[None]),
            r"`student`.*\(batch, dim\).*\(1, 5, 8\)",
        ),
        (lambda: similarity.cosine_matrix(A[0]), r"`a`.*Received: a.shape=\(8,\)"),
        (lambda: similarity.squared_distances(A, A[0]), r"`b`.*b.shape=\(8,\)"),
        (
            lambda: similarity.distances(A, metric="l1"),
            "L2, squared-L2, angular. Received: metric='l1'",
        ),
    ],
)
def test_refuses_and_says_what_it_got(call, message):
    with pytest.raises(ValueError, match=message):
        call()
