"""PAD trains in its phases, resumes, and stays out of the student."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods
from tests.methods.pad_cases import (
    DATA,
    IMAGES,
    LABELS,
    TEACHER,
    compiled,
    student,
    values,
)
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
