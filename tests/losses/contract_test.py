"""What every loss keeps to, whatever its formula."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_distill import losses

rng = np.random.default_rng(0)
LABELS = np.array([0, 0, 1, 1, 2, 2, 3, 0], np.int32)
EMBEDDINGS = rng.normal(size=(8, 6)).astype("float32")
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)

# Every form of every exported class, with arguments away from their defaults.
FORMS = {
    "arc_face": lambda **k: losses.ArcFace(4, 0.3, 20.0, **k),
    "arc_face clamped": lambda **k: losses.ArcFace(4, form="clamped", **k),
    "contrastive": lambda **k: losses.Contrastive(0.9, 0.1, **k),
    "contrastive linear": lambda **k: losses.Contrastive(form="linear", **k),
    "contrastive sampled": lambda **k: losses.Contrastive(form="sampled", seed=1, **k),
    "lifted_structure": lambda **k: losses.LiftedStructure(0.7, **k),
    "margin": lambda **k: losses.Margin(
        4, 0.3, 1.1, 0.1, lower_cutoff=0.6, seed=1, learning_rate_multiplier=5.0, **k
    ),
    "margin all": lambda **k: losses.Margin(4, triplets="all", divisor="pairs", **k),
    "multi_similarity": lambda **k: losses.MultiSimilarity(3.0, 20.0, 0.4, 0.2, **k),
    "multi_similarity whole": lambda **k: losses.MultiSimilarity(epsilon=None, **k),
    "multi_similarity one": lambda **k: losses.MultiSimilarity(one_sided=True, **k),
    "n_pairs": lambda **k: losses.NPairs(norm_weight=0.1, **k),
    "n_pairs first": lambda **k: losses.NPairs("first", **k),
    "n_pairs all": lambda **k: losses.NPairs("all", 0.005, **k),
    "normalized_softmax": lambda **k: losses.NormalizedSoftmax(4, 0.1, **k),
    "nt_xent": lambda **k: losses.NTXent(0.2, **k),
    "proxy_anchor": lambda **k: losses.ProxyAnchor(4, 0.2, 16.0, **k),
    "proxy_anchor examples": lambda **k: losses.ProxyAnchor(4, average="examples", **k),
    "proxy_nca": lambda **k: losses.ProxyNCA(4, 5.0, **k),
    "proxy_nca softmax": lambda **k: losses.ProxyNCA(4, 3.0, True, 7.0, **k),
    "triplet_hard": lambda **k: losses.TripletHard(0.5, **k),
    "triplet_hard soft": lambda **k: losses.TripletHard(1.0, True, "angular", **k),
    "triplet_semi_hard": lambda **k: losses.TripletSemiHard(0.5, "squared-L2", **k),
    "triplet_semi_hard all": lambda **k: losses.TripletSemiHard(negatives="all", **k),
}
every_form = pytest.mark.parametrize("make", FORMS.values(), ids=FORMS)
every_class = pytest.mark.parametrize(
    "make",
    [make for name, make in FORMS.items() if " " not in name],
    ids=[name for name in FORMS if " " not in name],
)
DRAWN = ("contrastive sampled", "margin")
every_drawless_form = pytest.mark.parametrize(
    "make",
    [make for name, make in FORMS.items() if name not in DRAWN],
    ids=[name for name in FORMS if name not in DRAWN],
)

HOSTILE = {
    "one class only": (np.zeros(8), EMBEDDINGS),
    "no class twice": (np.arange(4), EMBEDDINGS[:4]),
    "one example": (np.array([2]), EMBEDDINGS[:1]),
    "equal rows in a class": (LABELS, np.repeat(EMBEDDINGS[::2], 2, axis=0)),
    "equal rows in different classes": (
        np.array([0, 1, 0, 1]),
        EMBEDDINGS[[0, 0, 1, 1]],
    ),
    "all rows equal": (LABELS, np.repeat(EMBEDDINGS[:1], 8, axis=0)),
    "zero rows": (LABELS, np.zeros_like(EMBEDDINGS)),
    "a zero row": (LABELS, EMBEDDINGS * (np.arange(8) != 2)[:, None]),
    "antipodes": (LABELS, EMBEDDINGS[[0] * 8] * (-1.0) ** np.arange(8)[:, None]),
    "long rows": (LABELS, 1e3 * EMBEDDINGS),
    "short rows": (LABELS, 1e-6 * EMBEDDINGS),
    "one dimension": (LABELS, EMBEDDINGS[:, :1]),
}


def tracked(loss, dim=6):
    """The loss as inside a model that looks after its weights."""
    if isinstance(loss, losses.TrainableLoss):
        loss.build(dim)
        loss.track()
    return loss


def variables_of(loss):
    if isinstance(loss, losses.TrainableLoss):
        return [v.value for v in loss.parameters.trainable_variables]
    return []


def test_every_exported_class_is_here():
    bases = {losses.TrainableLoss, losses.ProxyLoss}
    exported = {getattr(losses, name) for name in losses.__all__}
    classes = {x for x in exported if isinstance(x, type)} - bases
    assert classes == {type(make()) for make in FORMS.values()}
    assert set(losses.names()) == {name.split()[0] for name in FORMS}


@every_form
@pytest.mark.parametrize("labels, rows", HOSTILE.values(), ids=HOSTILE)
def test_hostile_batches_give_a_finite_value_and_gradient(make, labels, rows):
    loss = make()
    embeddings = tf.Variable(rows)
    with tf.GradientTape() as tape:
        value = loss(labels, embeddings)
    assert np.all(np.isfinite(value))
    for gradient in tape.gradient(
        value,
        [embeddings, *variables_of(loss)],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    ):
        assert np.all(np.isfinite(gradient))


@every_form
def test_each_row_has_a_value_whose_plain_mean_is_the_loss(make):
    keras.utils.set_random_seed(0)
    loss = tracked(make())
    keras.utils.set_random_seed(0)
    rows = tracked(make(reduction="none"))(LABELS, EMBEDDINGS)
    assert rows.dtype == tf.float32
    assert rows.shape == (8,)  # a scalar is not divided by the number of replicas
    np.testing.assert_allclose(np.mean(rows), loss(LABELS, EMBEDDINGS), rtol=1e-5)


@every_drawless_form
def test_labels_may_be_a_column_and_of_any_integer_type(make):
    loss = make()
    expected = loss(LABELS, EMBEDDINGS)
    for labels in (LABELS[:, None], LABELS.astype("int64"), LABELS.astype("uint8")):
        np.testing.assert_array_equal(loss(labels, EMBEDDINGS), expected)
        np.testing.assert_allclose(
            np.mean(loss.call(labels, EMBEDDINGS)), expected, rtol=1e-6
        )


@every_drawless_form
def test_weight_zero_takes_away_what_a_row_adds_as_anchor(make):
    loss, weights = make(), np.array([1, 1, 0, 1, 1, 1, 1, 1])
    value = loss(LABELS, EMBEDDINGS, sample_weight=weights)
    rows = loss.call(LABELS, EMBEDDINGS)
    # Each row of ProxyAnchor is the whole loss: it is scaled by the mean weight.
    expected = np.mean(rows * weights)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@every_drawless_form
def test_the_order_of_a_batch_does_not_matter(make):
    loss = make(reduction="none")
    if loss.name == "n_pairs":  # pairs are made in the order of the batch:
        order = np.array([6, 4, 0, 2, 5, 1, 7, 3])  # the same within each class
    else:
        order = rng.permutation(8)
    rows = loss(LABELS, EMBEDDINGS)
    shuffled = loss(LABELS[order], EMBEDDINGS[order])
    np.testing.assert_allclose(shuffled, np.array(rows)[order], rtol=1e-4, atol=1e-6)


@every_drawless_form
def test_half_precision_is_computed_in_float32(make):
    half = EMBEDDINGS.astype("float16")
    loss = make()
    expected = loss(LABELS, half.astype("float32"))
    assert loss(LABELS, half).dtype == tf.float32
    np.testing.assert_array_equal(loss(LABELS, half), expected)
    np.testing.assert_allclose(np.mean(loss.call(LABELS, half)), expected, rtol=1e-6)


@every_class
def test_fit_under_mixed_precision_trains_and_keeps_the_loss_in_float32(make):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    half = keras.layers.Dense(6, dtype="mixed_float16")(inputs)
    model = keras.Model(inputs, half)
    loss = tracked(make())
    if isinstance(loss, losses.TrainableLoss):
        model.criterion = loss.parameters
        loss.track(model)
    before = [np.array(v) for v in model.trainable_variables]
    images = rng.normal(size=(16, 4)).astype("float32")
    # The second batch is smaller: its size is unknown in the graph.
    data = tf.data.Dataset.from_tensor_slices((images, np.tile(LABELS, 2))).batch(10)
    model.compile(keras.optimizers.Adam(0.01), loss=loss)
    history = model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert np.all(np.isfinite(history.history["loss"]))
    assert all(v.dtype == "float32" for v in model.trainable_variables)
    after = [np.array(v) for v in model.trainable_variables]
    moved = [np.any(a != b) for a, b in zip(after, before, strict=True)]
    assert len(moved) == 2 + isinstance(loss, losses.TrainableLoss) and all(moved)


@every_form
def test_compiles_with_xla(make):
    keras.utils.set_random_seed(0)
    eager = tracked(make())
    keras.utils.set_random_seed(0)
    loss = tracked(make())

    @tf.function(jit_compile=True)
    def step(labels, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(labels, embeddings)
        return value, tape.gradient(value, embeddings)

    value, gradient = step(LABELS, tf.constant(EMBEDDINGS))
    assert np.isfinite(value) and np.all(np.isfinite(gradient))
    if make not in (FORMS[name] for name in DRAWN):  # XLA draws other numbers
        expected = eager(LABELS, EMBEDDINGS)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


@every_form
def test_runs_inside_a_tf_data_map(make):
    keras.utils.set_random_seed(0)
    eager = tracked(make())
    keras.utils.set_random_seed(0)
    loss = tracked(make())
    data = tf.data.Dataset.from_tensor_slices((LABELS, EMBEDDINGS)).batch(8)
    (value,) = data.map(loss).as_numpy_iterator()
    np.testing.assert_allclose(value, eager(LABELS, EMBEDDINGS), rtol=1e-5)


@every_form
def test_comes_back_from_its_config(make):
    loss = make(name="other", reduction="sum")
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again.name == "other" and again.reduction == "sum"


@every_form
@pytest.mark.parametrize(
    "labels, embeddings, message",
    [
        (LABELS, EMBEDDINGS[0], r"shape \(batch, dim\).*embeddings.shape=\(6,\)"),
        (LABELS, EMBEDDINGS[None], r"\(batch, dim\).*embeddings.shape=\(1, 8, 6\)"),
        (np.eye(8), EMBEDDINGS, r"not one-hot rows.*labels.shape=\(8, 8\)"),
        (LABELS[:5], EMBEDDINGS, r"one label for each.*\(5,\).*\(8, 6\)"),
    ],
)
def test_refuses_other_shapes(make, labels, embeddings, message):
    with pytest.raises(ValueError, match=message):
        make()(labels, embeddings)
