"""S2SD is the criterion of the paper, and trains inside `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import methods
from keras_distill.methods.s2sd import pool_features

EXAMPLES = [
    methods.S2SD(
        dims=(8, 16),
        weight=5.0,
        feature_weight=4.0,
        temperature=0.5,
        feature_delay=3,
        pooling="avg",
        criterion=kd.losses.MultiSimilarity(alpha=1.0),
        kernel_initializer="he_normal",
        name="other",
    ),
]


class TripletMargin(keras.losses.Loss):
    """`margin_loss` on given triplets and given beta, as the reference drew them."""

    def __init__(self, triplets, beta):
        super().__init__()
        self.triplets, self.beta = triplets, beta

    def call(self, labels, embeddings):
        return kd.losses.margin_loss(embeddings, labels, self.triplets, self.beta)


def criterion_of(file, branch):
    if file["hp_source"] == "margin":
        beta = tf.Variable(file[f"in_beta_{branch}"])
        return TripletMargin(file[f"mined_triplets_{branch}"], beta)
    return kd.losses.MultiSimilarity()


def s2sd_of(file):
    """S2SD with the branches, coefficients and criteria of a reference file."""
    dims = [int(d) for d in file["hp_target_dims"]]
    with_features = bool(file["hp_feat_distill"])
    method = methods.S2SD(
        dims=dims,
        weight=float(file["hp_w"]),
        feature_weight=float(file["hp_feat_w"]) if with_features else 0.0,
        temperature=float(file["hp_T"]),
        feature_delay=int(file["hp_feat_delay"]),
        pooling="avg+max" if file["hp_pool_aggr"] else "avg",
    )
    batch, channels, h, w = file["in_features_nchw"].shape
    method.build({"output": (None, 1), "features": (None, h, w, channels)})
    for k, branch in enumerate(method.branches):
        weights = [file[f"in_t{k}_{name}"] for name in ("W1", "b1", "W2", "b2")]
        branch.set_weights([w.T for w in weights])
    # Cloning is tested below; here each branch has the reference's own triplets.
    method._criteria = [criterion_of(file, f"t{k}") for k in range(len(dims))]
    return method


def total(method, file, embeddings, features, base, training=True):
    """The total as the Distiller adds it up."""
    views = methods.Views(embeddings, {"features": features}, training=training)
    batch = methods.Batch(
        file["in_labels"], file["in_labels"], embeddings, method.rows(views), training
    )
    terms = method.terms(batch)
    supervised = tf.reduce_mean(base.call(file["in_labels"], embeddings))
    weighted = [term.weight * term.mean() for term in terms.values()]
    return method.base_weight * supervised + sum(weighted), terms


def close_gradient(actual, reference):
    atol = 1e-4 * np.abs(reference).max() + 1e-8
    np.testing.assert_allclose(actual, reference, rtol=0, atol=atol)


FILES = [
    "s2sd_margin_dsd_b16",
    "s2sd_ms_msdf_b32",
    "s2sd_ms_msdfa_b16",
    "s2sd_ms_warmup_b16",
]


@pytest.mark.parametrize("name", FILES)
def test_is_the_authors_criterion_in_value_and_gradient(name, reference):
    file = reference(name)
    method, base = s2sd_of(file), criterion_of(file, "src")
    raw = tf.Variable(file["in_embed_raw"])
    features = tf.Variable(np.transpose(file["in_features_nchw"], (0, 2, 3, 1)))
    for call in range(int(file["hp_calls"])):
        with tf.GradientTape() as tape:
            embeddings = kd.similarity.normalize(raw)
            loss, terms = total(method, file, embeddings, features, base)
        np.testing.assert_allclose(loss, file["out_loss_f64"][call], rtol=5e-5)
    kls = file["out_kls_f64"]
    branches = len(method.dims)
    np.testing.assert_allclose(
        terms["distillation"].mean(), kls[:branches].mean(), atol=2e-6
    )
    if len(kls) > branches:
        np.testing.assert_allclose(terms["features"].mean(), kls[branches], atol=2e-6)
    dml = [file[f"out_dml_t{k}_f64"][-1] for k in range(branches)]
    np.testing.assert_allclose(terms["branches"].mean(), np.mean(dml), rtol=1e-5)

    criteria = [base, *method._criteria]
    betas = [c.beta for c in criteria if isinstance(c, TripletMargin)]
    gradients = tape.gradient(
        loss, [raw, features, *method.trainable_variables, *betas]
    )
    close_gradient(gradients[0], file["grad_embed_raw"])
    # Without pooling aggregation the reference was given the pooled features, whose
    # gradient the average spreads evenly over the cells.
    spatial = np.transpose(file["grad_features"], (0, 2, 3, 1))
    cells = spatial.shape[1] * spatial.shape[2]
    pooled = file["grad_avg_features"][:, None, None, :] / cells
    close_gradient(gradients[1], spatial + pooled)
    weights = [
        f"grad_t{k}_{n}" for k in range(branches) for n in ("W1", "b1", "W2", "b2")
    ]
    for gradient, weight in zip(gradients[2:], weights, strict=False):
        close_gradient(gradient, file[weight].T)
    for gradient, branch in zip(
        gradients[2 + len(weights) :], ["src", "t0"][: len(betas)], strict=True
    ):
        close_gradient(gradient, file[f"grad_beta_{branch}"])


def test_the_feature_term_waits_for_its_delay_counted_in_training_steps(reference):
    file = reference("s2sd_ms_warmup_b16")  # a delay of 2, the same batch four times
    method, base = s2sd_of(file), criterion_of(file, "src")
    raw = tf.Variable(file["in_embed_raw"])
    features = np.transpose(file["in_features_nchw"], (0, 2, 3, 1))
    for call, training in enumerate([True, False, False, True, True]):
        with tf.GradientTape() as tape:
            embeddings = kd.similarity.normalize(raw)
            loss, _ = total(method, file, embeddings, features, base, training)
        steps = [0, 1, 1, 1, 2][call]
        np.testing.assert_allclose(loss, file["out_loss_f64"][steps], rtol=5e-5)
        close_gradient(tape.gradient(loss, raw), file[f"grad_embed_raw_it{steps}"])
    assert int(method.steps) == 3


def test_the_targets_get_no_gradient_from_the_divergences(reference):
    method = s2sd_of(reference("s2sd_ms_msdfa_b16"))
    rng = np.random.default_rng(0)
    features = tf.Variable(rng.normal(size=(16, 3, 3, 64)).astype("f4"))
    embeddings = tf.Variable(rng.normal(size=(16, 8)).astype("f4"))
    with tf.GradientTape() as tape:
        views = methods.Views(embeddings, {"features": features}, training=True)
        labels = np.repeat(np.arange(8), 2)
        batch = methods.Batch(labels, labels, embeddings, method.rows(views), True)
        terms = method.terms(batch)
        loss = sum(
            terms[name].weight * terms[name].mean()
            for name in ("distillation", "features")
        )
    to_features, to_embeddings = tape.gradient(loss, [features, embeddings])
    assert to_features is None
    assert np.abs(to_embeddings).max() > 0


def test_pooling_sums_average_and_maximum():
    features = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype("f4")
    pooled = pool_features(features, "avg+max")
    expected = features.mean((1, 2)) + features.max((1, 2))
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
    np.testing.assert_allclose(
        pool_features(features, "avg"), features.mean((1, 2)), rtol=1e-5
    )


@pytest.mark.parametrize("seed", [None, 3])
def test_each_layer_of_the_branches_draws_a_start_of_its_own(seed):
    authors = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
    method = methods.S2SD((16, 16), kernel_initializer=authors)
    method.build({"output": (None, 4), "features": (None, 2, 2, 16)})
    kernels = [v for branch in method.branches for v in branch.get_weights()[::2]]
    for kernel in kernels:  # of 256 draws the largest is near the bound
        assert 0.9 < 4 * np.abs(kernel).max() <= 1  # 1 / sqrt(16)
    apart = [np.abs(a - b).max() for a in kernels for b in kernels if a is not b]
    assert len(kernels) == 4 and min(apart) > 0.1


def student(dim=4, **kwargs):
    return kd.models.embedder("conv4_8", (16, 16, 1), dim=dim, **kwargs)


def glimpse(classes=6, per_class=4):
    """A batch of noisy stripes: a class is a width of stripes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    waves = np.sin(np.arange(16) * (labels[:, None] + 1) / 3)  # (batch, 16)
    images = (
        128 + 90 * waves[:, None, :, None] + rng.normal(0, 20, (len(labels), 16, 16, 1))
    )
    return images.astype("f4"), labels.astype("i4")


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_fit_learns_and_leaves_the_student_bare(policy):
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        net = student()
        bare = [v.path for v in net.variables]
        method = kd.S2SD((16, 32), weight=5.0, feature_weight=5.0, feature_delay=12)
        distiller = kd.Distiller(net, [method])
        # Without mining: the mean over the hardest anchors need not fall.
        loss = kd.losses.MultiSimilarity(epsilon=None)
        distiller.compile(keras.optimizers.Adam(5e-3), loss)
        data = tf.data.Dataset.from_tensors(glimpse()).repeat(12)
        history = distiller.fit(data, epochs=3, verbose=0).history
    finally:
        keras.config.set_dtype_policy(before)
    assert history["base_loss"][-1] < 0.8 * history["base_loss"][0]
    assert [v.path for v in net.variables] == bare
    assert np.isfinite(list(history.values())).all()
    assert {"s2sd_branches", "s2sd_distillation", "s2sd_features"} < set(history)
    out = net(glimpse()[0])
    assert out.dtype == "float32"
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)


def test_the_total_is_half_the_base_loss_and_the_weighted_terms():
    distiller = kd.Distiller(
        student(), [kd.S2SD((8,), weight=7.0, feature_weight=3.0, feature_delay=0)]
    )
    distiller.compile("sgd", kd.losses.MultiSimilarity())
    logs = distiller.evaluate(*glimpse(), verbose=0, return_dict=True, batch_size=24)
    expected = (
        0.5 * (logs["base_loss"] + logs["s2sd_branches"])
        + 7.0 * logs["s2sd_distillation"]
        + 3.0 * logs["s2sd_features"]
    )
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    images, labels = glimpse()
    alone = kd.losses.MultiSimilarity()(labels, distiller.student(images))
    assert logs["base_loss"] == pytest.approx(float(alone), rel=1e-4)


def test_the_temperature_is_that_of_all_divergences():
    method = kd.S2SD((8, 12), temperature=0.1, feature_delay=0)
    distiller = kd.Distiller(student(), [method])
    distiller.compile("sgd", kd.losses.MultiSimilarity(), run_eagerly=True)
    images, labels = glimpse()
    logs = distiller.evaluate(
        images, labels, verbose=0, return_dict=True, batch_size=24
    )
    views = distiller.views(images)
    rows = method.rows(views)

    def divergences(temperature):
        *of_branches, of_features = (
            np.mean(kd.similarity.relational_kl(x, views.embeddings, temperature))
            for x in (*rows["branches"], rows["features"])
        )
        return [np.mean(of_branches), of_features]

    found = [logs["s2sd_distillation"], logs["s2sd_features"]]
    assert found == pytest.approx(divergences(0.1), rel=1e-3)
    for ours, at_1 in zip(found, divergences(1.0), strict=True):
        assert ours != pytest.approx(at_1, rel=0.1)


def test_every_branch_trains_a_criterion_of_its_own():
    distiller = kd.Distiller(student(), [kd.S2SD(dims=(8, 12))])
    distiller.compile(keras.optimizers.Adam(1e-2), kd.losses.ProxyAnchor(num_classes=6))
    proxies = [v for v in distiller.trainable_variables if "prox" in v.path]
    assert sorted(v.shape[-1] for v in proxies) == [4, 8, 12]
    before = [np.array(v) for v in proxies]
    distiller.fit(*glimpse(), batch_size=24, verbose=0)
    for old, new in zip(before, proxies, strict=True):
        assert np.abs(old - np.array(new)).max() > 1e-3


def test_another_criterion_can_be_given_to_the_branches():
    method = kd.S2SD(dims=(8,), criterion=kd.losses.MultiSimilarity(alpha=1.0))
    distiller = kd.Distiller(student(), [method])
    distiller.compile("adam", kd.losses.TripletSemiHard())
    assert method._criteria[0].alpha == 1.0


def test_each_branch_draws_for_itself():
    def criteria():
        method = kd.S2SD(dims=(8, 12))
        distiller = kd.Distiller(student(), [method])
        loss = kd.losses.Margin(num_classes=6, seed=3)
        distiller.compile("adam", loss)
        return [loss, *method._criteria]

    seeds = [[int(c.seed) for c in criteria()] for _ in range(2)]
    assert seeds == [[3, 4, 5]] * 2
    states = {tuple(np.ravel(c.parameters.seed_state)) for c in criteria()}
    assert len(states) == 3


def test_compiled_again_the_branches_keep_what_their_criteria_have_learned():
    method = kd.S2SD(dims=(8, 12))
    distiller = kd.Distiller(student(), [method])

    def proxies():
        return [np.array(v) for v in method.variables if "prox" in v.path]

    distiller.compile("adam", kd.losses.ProxyAnchor(num_classes=6))
    first = proxies()
    distiller.fit(*glimpse(), batch_size=24, verbose=0)
    learned = proxies()
    distiller.compile("sgd", kd.losses.ProxyAnchor(num_classes=6, name="renamed"))
    for before, now, new in zip(learned, proxies(), first, strict=True):
        np.testing.assert_array_equal(now, before)
        assert np.any(now != new)
    distiller.compile("sgd", kd.losses.ProxyAnchor(num_classes=6, alpha=16.0))
    assert all(criterion.alpha == 16 for criterion in method._criteria)
    for before, now in zip(learned, proxies(), strict=True):
        assert np.any(now != before)


def test_rows_are_enough_when_pooled_by_average():
    method = kd.S2SD(dims=(8,), pooling="avg", feature_delay=0)
    net = student()
    on_map = kd.Distiller(net, [method])
    on_map.compile("sgd", kd.losses.MultiSimilarity())
    twin = kd.S2SD(dims=(8,), pooling="avg", feature_delay=0)
    on_rows = kd.Distiller(net, [twin], feature_layer="pooled")
    on_rows.compile("sgd", kd.losses.MultiSimilarity())
    twin.branches[0].set_weights(method.branches[0].get_weights())
    logs = [
        model.evaluate(*glimpse(), verbose=0, return_dict=True, batch_size=24)
        for model in (on_map, on_rows)
    ]
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
