"""Global knowledge is the authors' step, and trains detectors and embedders."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods
from keras_distill.callbacks import PrototypeRefresh
from keras_distill.methods import Batch, Views
from keras_distill.methods.robust_distillation import discrepancy_weights
from tests.tiny_detector import ANCHORS, STRIDES, TinyDetector, batches, scenes
from tests.two_replicas import same_update

EXAMPLES = [
    methods.GlobalKnowledge(
        num_classes=3,
        instances="boxes",
        student_layer="fpn",
        teacher_layer="neck",
        strides={"P3": 8.0},
        global_weight=4.0,
        foreground_weight=2.0,
        background_weight=3.0,
        soft_weight=3.0,
        soft_labels=["logits", "predictions"],
        temperature=3.0,
        prototypes=4,
        coupling=3.0,
        bandwidth=0.2,
        quantile=0.3,
        min_side=2.0,
        level_base=14.0,
        adapter_size=1,
        level_reduction="mean",
        weighted=False,
        clip_weights=True,
        attenuate=False,
        start_epoch=2,
        teacher_dims={"P3": 7},
        name="other",
    ),
]
PYRAMIDS = {"student_layer": "fpn", "teacher_layer": "fpn", "strides": STRIDES}
SMALL = {
    "instances": "boxes",
    "prototypes": 3,
    "level_base": 14.0,
    "min_side": 1.0,
    **PYRAMIDS,
}


def knowledge(**kwargs):
    return kd.GlobalKnowledge(2, **{**SMALL, **kwargs})


def compiled(with_methods, student=None, teacher=None, **kwargs):
    distiller = kd.Distiller(
        student or TinyDetector(4),
        with_methods,
        teacher=teacher or TinyDetector(6, name="teacher"),
    )
    distiller.compile(kwargs.pop("optimizer", keras.optimizers.SGD(0.05)), **kwargs)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]


# The step of the authors.


def step(r, level_reduction="sum", **kwargs):
    """The method's terms of the authors' inputs, and their gradients."""
    starts = r["proto_start"]
    method = kd.GlobalKnowledge(
        4,
        "boxes",
        student_layer="fpn",
        teacher_layer="fpn",
        strides={f"L{i}": int(stride) for i, stride in enumerate(r["strides"])},
        teacher_dims={f"L{i}": 12 for i in range(3)},
        soft_labels="classify",
        prototypes=int(np.diff(starts).max()),
        level_reduction=level_reduction,
        **kwargs,
    )
    maps = {f"L{i}": tf.Variable(r[f"student_feat_{i}"]) for i in range(3)}
    taught = {f"L{i}": r[f"teacher_feat_{i}"] for i in range(3)}
    method.build({"fpn": {level: tuple(x.shape) for level, x in maps.items()}})
    for i in range(3):
        classes = {
            c: [r[f"proto_{side}_{i}"][a:b] for side in ("student", "teacher")]
            for c, (a, b) in enumerate(zip(starts[:-1], starts[1:], strict=True))
        }
        if method.needs_prototypes:
            method.bank.write(f"L{i}", classes)
        adapted = r[f"student_adapted_feat_{i}"]
        method.adapters[f"L{i}"] = lambda x, adapted=adapted: adapted
    there = np.argwhere(r["labels"] >= 0)
    logits = tf.Variable(r["student_logits"])
    spread = (*r["labels"].shape, 4)
    method.logits._models = {
        "student": lambda *_: tf.scatter_nd(there, logits, spread),
        "teacher": lambda *_: tf.scatter_nd(there, r["teacher_logits"], spread),
    }
    method.active.assign(1.0)
    method.attenuation.assign(r["attenuation"])
    targets = {"boxes": r["boxes_xyxy"], "labels": r["labels"]}
    if "mask" in r:
        targets["mask"] = r["mask"]
    with tf.GradientTape() as tape:
        layers_ = {"fpn": {level: x * 1.0 for level, x in maps.items()}}
        views = Views(
            None,
            layers_,
            taught["L0"],
            {"fpn": taught},
            images=np.zeros((3, *r["image_hw"], 1), "f4"),
            targets=targets,
        )
        terms = method.terms(Batch(None, targets, None, method.rows(views), True))
        loss = sum(t.mean() * t.weight for t in terms.values() if t.weight is not None)
    gradients = tape.gradient(loss, [*maps.values(), logits])
    return terms, loss, gradients


def test_a_step_is_that_of_the_authors_code(reference):
    r = reference("gk_rdm_a")
    terms, loss, gradients = step(r)
    weighted = {name: float(t.mean() * (t.weight or 0)) for name, t in terms.items()}
    for name, figure in [
        ("global", "loss_global"),
        ("foreground", "loss_local_fg"),
        ("background", "loss_local_bg"),
    ]:
        expected = sum(r[f"{figure}_{i}"] for i in range(3))
        assert weighted[name] == pytest.approx(expected, rel=1e-4)
    assert weighted["soft_labels"] == pytest.approx(float(r["loss_soft"][0]), rel=1e-4)
    assert float(loss) == pytest.approx(float(r["loss_total"]), rel=1e-4)
    there = r["labels"] >= 0
    agreement = np.mean([r[f"robust_weights_{i}"][there].mean() for i in range(3)])
    assert float(terms["agreement"].mean()) == pytest.approx(agreement, rel=1e-4)
    expected = [r[f"grad_total_student_feat_{i}"] for i in range(3)]
    expected.append(r["grad_total_student_logits"])
    for ours, theirs in zip(gradients, expected, strict=True):
        atol = 1e-6 + 1e-4 * np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def test_two_stage_detectors_take_the_mean_of_the_local_losses_over_levels(reference):
    one, two = (step(reference("gk_rdm_a"), rule)[0] for rule in ("sum", "mean"))
    for name, ratio in [("global", 1), ("foreground", 3), ("background", 3)]:
        assert float(one[name].mean() / two[name].mean()) == pytest.approx(ratio)


def test_the_soft_labels_do_not_fade(reference):
    r = reference("gk_rdm_a")
    late = {**r, "attenuation": np.float32(0.25)}
    now, then = step(r)[0], step(late)[0]
    for name in ("global", "foreground", "background"):
        assert float(then[name].weight) == pytest.approx(float(now[name].weight) / 4)
    assert float(then["soft_labels"].weight) == float(now["soft_labels"].weight) == 1.0


def test_what_the_authors_release_computes_is_the_step_without_the_global_loss(
    reference,
):
    r = reference("gk_rdm_a")
    terms, loss, _ = step(r, global_weight=0.0)
    assert "global" not in terms
    released = float(r["loss_total"]) - sum(
        float(r[f"loss_global_{i}"]) for i in range(3)
    )
    assert float(loss) == pytest.approx(released, rel=1e-4)


def test_without_weights_every_instance_counts_alike(reference):
    r = reference("gk_rdm_a")
    plain, _, _ = step(r, global_weight=0.0, weighted=False)
    assert set(plain) == {"foreground", "background", "soft_labels"}
    (p, q) = (np.exp(r[f"{s}_logits"] / 2) for s in ("teacher", "student"))
    p, q = (x / x.sum(1, keepdims=True) for x in (p, q))
    expected = 4 * np.mean(p * np.log(p / q))
    assert float(plain["soft_labels"].mean()) == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_instances_gives_no_nan(reference):
    r = reference("gk_rdm_a")
    empty = {**r, "labels": np.full_like(r["labels"], -1)}
    there = empty["labels"] >= 0
    assert not there.any()
    empty["student_logits"] = r["student_logits"][:0]
    empty["teacher_logits"] = r["teacher_logits"][:0]
    terms, loss, _ = step(empty)
    for name in ("global", "foreground", "soft_labels", "agreement"):
        assert float(terms[name].mean()) == 0.0
    assert float(terms["background"].mean()) > 0 and np.isfinite(float(loss))


@pytest.mark.parametrize("fault", ["outside", "no area", "unknown", "masked"])
def test_a_box_that_is_no_instance_is_as_padding(reference, fault):
    r = reference("gk_rdm_a")
    without = {key: np.array(x) for key, x in r.items()}
    without["labels"][0, 1] = -1
    for side in ("student", "teacher"):  # the rows of the other boxes
        without[f"{side}_logits"] = np.delete(r[f"{side}_logits"], 1, axis=0)
    faulty = {key: np.array(x) for key, x in without.items()}
    faulty["labels"][0, 1] = r["labels"][0, 1]
    if fault == "unknown":
        faulty["labels"][0, 1] = 4
    elif fault == "no area":
        faulty["boxes_xyxy"][0, 1] = 80, 16, 80, 120
    elif fault == "masked":
        faulty["mask"] = np.ones(r["labels"].shape, bool)
        faulty["mask"][0, 1] = False
    else:
        faulty["boxes_xyxy"][0, 1] = 330, 16, 400, 120
    faulty["student_logits"] = np.insert(without["student_logits"], 1, 7.0, axis=0)
    faulty["teacher_logits"] = np.insert(without["teacher_logits"], 1, -7.0, axis=0)
    assert float(step(faulty)[1]) == pytest.approx(float(step(without)[1]), rel=1e-6)


# Training.


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_detector_trains_on_all_terms(jit_compile):
    method = knowledge(soft_labels="cls_logits")
    student = TinyDetector(4)
    names = [v.path for v in student.variables]
    distiller = compiled(
        method, student, optimizer=keras.optimizers.Adam(0.01), jit_compile=jit_compile
    )
    history = distiller.fit(batches().repeat(5), epochs=4, verbose=0).history
    logged = {
        f"global_knowledge_{term}"
        for term in ("global", "foreground", "background", "soft_labels", "agreement")
    }
    assert set(history) == {"loss", "base_loss", "cell_loss"} | logged
    assert history["cell_loss"] == pytest.approx(history["base_loss"], rel=1e-5)
    for name in ("foreground", "background", "soft_labels"):
        losses = history[f"global_knowledge_{name}"]
        assert losses[-1] < 0.8 * losses[0]
    assert np.isfinite(list(history.values())).all()
    assert history["global_knowledge_global"][0] > 0
    assert [v.path for v in student.variables] == names
    assert float(method.attenuation) == pytest.approx(0.25)


def test_the_loss_is_the_students_own_and_the_terms_by_their_weights():
    method = knowledge(
        soft_labels="cls_logits", global_weight=3.0, soft_weight=7.0, temperature=3.0
    )
    student = TinyDetector(4)
    distiller = compiled(
        method, student, optimizer=keras.optimizers.SGD(0.0), run_eagerly=True
    )
    distiller.fit(batches(), epochs=2, verbose=0)
    logs = distiller.evaluate(batches(12, 12), verbose=0, return_dict=True)
    images, targets = scenes()
    own = student.compute_loss(images, targets, student(images))
    assert logs["base_loss"] == pytest.approx(float(own), rel=1e-5)
    term = {key.removeprefix("global_knowledge_"): value for key, value in logs.items()}
    expected = float(own) + 7.0 * term["soft_labels"]
    expected += 0.5 * (3 * term["global"] + term["foreground"] + 4 * term["background"])
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)


def test_each_anchor_has_the_weight_of_its_box_at_the_level_of_its_size():
    method = knowledge(soft_labels="cls_logits", level_base=6.0)
    student, teacher = TinyDetector(4), TinyDetector(6, name="teacher")
    distiller = compiled(method, student, teacher, run_eagerly=True)
    distiller.fit(batches(), epochs=1, verbose=0)
    images, targets = scenes()
    logs = distiller.evaluate(batches(12, 12), verbose=0, return_dict=True)

    views = distiller.views(images, targets)
    pooled = method.features(views)
    level_of = method_levels(targets["boxes"], 6.0)
    weights = np.zeros(targets["labels"].shape)
    for number, level in enumerate(STRIDES):
        ours, theirs, there = method.bank.read(level)
        cosines = [
            cosine(pooled[side][level], rows)
            for side, rows in (("student", ours), ("teacher", theirs))
        ]
        found = discrepancy_weights(
            *map(tf.constant, cosines), targets["labels"], method.bank.classes, there
        )
        weights = np.where(level_of == number, found, weights)
    matches = np.array(student.matched_boxes(targets["boxes"], targets["labels"]))
    p, q = (np.exp(m(images)["logits"] / 2.0) for m in (teacher, student))
    p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
    terms = 4 * np.mean(p * np.log(p / q), -1)
    image, anchor = np.nonzero(matches >= 0)
    assert matches.shape == (12, ANCHORS) and len(image) > 20
    assert len(set(level_of[targets["labels"] >= 0])) == 2
    taken = weights[image, matches[image, anchor]] * terms[image, anchor]
    assert logs["global_knowledge_soft_labels"] == pytest.approx(taken.mean(), rel=1e-3)


def method_levels(boxes, base):
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    return np.clip(np.floor(np.log2(np.sqrt(sides.prod(-1)) / base + 1e-6)), 0, 1)


def cosine(rows, others):
    rows, others = np.asarray(rows, "f8"), np.asarray(others, "f8")
    lengths = [np.linalg.norm(x, axis=-1, keepdims=True) for x in (rows, others)]
    rows, others = (
        x / np.maximum(n, 1e-12) for x, n in zip((rows, others), lengths, strict=True)
    )
    return (rows @ others.T).astype("f4")


def test_the_student_moves_as_global_knowledge_alone_wants():
    """Only cosines to prototypes are taught: they get closer, and that is all."""
    method = knowledge(
        global_weight=500.0,
        foreground_weight=0.0,
        background_weight=0.0,
        attenuate=False,
    )
    teacher, student = TinyDetector(6, name="teacher"), TinyDetector(4)
    distiller = compiled(
        method, student, teacher, optimizer=keras.optimizers.Adam(0.01)
    )
    assert not method.trainable_variables  # no adapter without a local loss
    data = batches(12, 12)
    once = PrototypeRefresh(method, data=data, every=100)
    losses = distiller.fit(data.repeat(10), epochs=12, verbose=0, callbacks=[once])
    losses = losses.history["global_knowledge_global"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_policies_and_eager_steps(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        student = TinyDetector(4)
    finally:
        keras.config.set_dtype_policy(before)
    method = knowledge(soft_labels="cls_logits")
    distiller = compiled(method, student, run_eagerly=policy == "float32")
    history = distiller.fit(batches(4, 4), epochs=2, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    assert history["global_knowledge_foreground"][0] > 0


def test_stands_beside_pad_around_local_features_and_soft_labels():
    local = methods.PyramidImitation(2.0, cells="foreground", level_base=14, **PYRAMIDS)
    soft = methods.InstanceSoftTargets(2)
    terms = [
        knowledge(foreground_weight=0.0, background_weight=0.0),
        kd.PAD(local, warm_up=1),
        kd.PAD(soft, warm_up=1),
    ]
    distiller = compiled(terms, run_eagerly=True)
    history = distiller.fit(batches(), epochs=2, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    for name in ("pad_pyramid_imitation", "pad_instance_soft_targets"):
        assert abs(history[f"{name}_adaptive"][-1]) > 0
        assert history[f"{name}_distance"][-1] > 0
    assert local.adapters and history["global_knowledge_global"][-1] > 0


def test_plain_imitation_needs_no_prototypes(monkeypatch):
    method = knowledge(global_weight=0.0, weighted=False)
    monkeypatch.setattr(PrototypeRefresh, "refresh", None)
    distiller = compiled(method, run_eagerly=True)
    history = distiller.fit(batches(), epochs=2, verbose=0).history
    assert method.bank is None
    assert history["global_knowledge_foreground"][-1] > 0


def test_two_stage_detectors_classify_the_boxes_of_the_targets():
    method = knowledge(soft_labels="classify", global_weight=0.0, weighted=False)
    student, teacher = TinyDetector(4), TinyDetector(6, name="teacher")
    distiller = compiled(method, student, teacher, run_eagerly=True)
    distiller.fit(batches(), epochs=1, verbose=0)
    images, targets = scenes()
    logs = distiller.evaluate(batches(12, 12), verbose=0, return_dict=True)
    rows = []
    for model in (teacher, student):
        maps = model.get_layer("fpn")(images)
        logits = np.array(model.classify(maps, targets["boxes"]))
        rows.append(logits[targets["labels"] >= 0] / 2)
    p, q = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in rows)
    expected = 4 * np.mean(p * np.log(p / q))
    assert logs["global_knowledge_soft_labels"] == pytest.approx(expected, rel=1e-3)


# Images as instances.


def net(dim=4, classes=3, name="student"):
    images = keras.Input((6, 6, 1))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(dim, "tanh", name="features")(x)
    return keras.Model(images, layers.Dense(classes, name="logits")(x), name=name)


rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(3), 8).astype("i4")
IMAGES = (60 * LABELS[:, None, None, None] + rng.uniform(0, 90, (24, 6, 6, 1))).astype(
    "f4"
)
PICTURES = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(12)


def test_images_are_instances_of_classifiers():
    method = kd.GlobalKnowledge(
        3,
        "images",
        student_layer="features",
        teacher_layer="features",
        soft_labels="output",
        prototypes=4,
    )
    student, teacher = net(4), net(7, name="teacher")
    distiller = kd.Distiller(student, method, teacher=teacher)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(keras.optimizers.Adam(0.01), loss)
    history = distiller.fit(PICTURES.repeat(5), epochs=4, verbose=0).history
    for name in ("foreground", "soft_labels"):
        losses = history[f"global_knowledge_{name}"]
        assert losses[-1] < 0.7 * losses[0]
    assert "global_knowledge_background" not in history
    assert history["global_knowledge_global"][0] > 0

    logs = distiller.evaluate(
        IMAGES, LABELS, batch_size=24, verbose=0, return_dict=True
    )
    ours, theirs = (
        np.array(keras.Model(m.input, m.get_layer("features").output)(IMAGES))
        for m in (student, teacher)
    )
    student_rows, teacher_rows, there = method.bank.read("image")
    c, t = cosine(ours, student_rows), cosine(theirs, teacher_rows)
    own = method.bank.classes == LABELS[:, None]
    weights = 1 - np.abs(
        np.max(np.where(own & there, c, -2), 1)
        - np.max(np.where(own & there, t, -2), 1)
    )
    gaps = np.mean((weights[:, None] * (c - t))[:, there] ** 2) / 2
    assert logs["global_knowledge_global"] == pytest.approx(gaps, rel=1e-3)
    assert logs["global_knowledge_agreement"] == pytest.approx(weights.mean(), rel=1e-4)
    kernel, bias = (np.array(w) for w in method.adapters["image"].weights)
    squares = np.sum((ours @ kernel[0, 0] + bias - theirs) ** 2, 1)
    expected = np.sum(weights * squares) / (2 * 7 * weights.sum())
    assert logs["global_knowledge_foreground"] == pytest.approx(expected, rel=1e-3)


def test_embedders_learn_from_cached_embeddings_and_labels_in_a_dictionary():
    method = kd.GlobalKnowledge(3, "images", prototypes=4, teacher_dims={"image": 7})
    embeddings = rng.normal(size=(24, 7)).astype("f4")
    inputs = {"image": IMAGES, "teacher_embedding": embeddings}
    targets = {"label": LABELS, "more": IMAGES}
    data = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(12)
    distiller = kd.Distiller(net(4), method)
    distiller.compile("sgd")
    history = distiller.fit(data, epochs=2, verbose=0).history
    assert history["global_knowledge_global"][-1] > 0
    logged = {f"global_knowledge_{term}" for term in method.term_names}
    assert set(history) == {"loss", "base_loss"} | logged


def test_two_replicas_make_the_update_of_one():
    program = """
        rng = np.random.default_rng(0)
        images = rng.uniform(-1, 1, (16, 5)).astype("f4")
        labels = np.tile(np.arange(4), 4).astype("i4")
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16).repeat(2)

        def net(dim):
            inputs = keras.Input((5,))
            x = keras.layers.Dense(7, "tanh")(inputs)
            model = keras.Model(inputs, keras.layers.Dense(dim)(x))
            weights = np.random.default_rng(1)
            model.set_weights(
                [weights.normal(size=w.shape) for w in model.get_weights()]
            )
            return model

        def run(strategy):
            with strategy.scope():
                student, teacher = net(4), net(6)
                method = kd.GlobalKnowledge(4, "images", prototypes=2)
                distiller = kd.Distiller(student, method, teacher=teacher)
                weights = np.random.default_rng(2)
                for v in method.trainable_variables:
                    v.assign(weights.normal(size=v.shape))
                distiller.compile(keras.optimizers.SGD(0.05))
            history = distiller.fit(data, epochs=3, verbose=0).history
            assert history["global_knowledge_global"][-1] > 0
            return history, student.get_weights() + method.get_weights()
    """
    same_update(program)


# Saving.


def test_all_of_it_is_saved_with_the_distiller(tmp_path):
    teacher = TinyDetector(6, name="teacher")
    soft = methods.InstanceSoftTargets(2)
    local = methods.PyramidImitation(**PYRAMIDS)
    distiller = compiled([knowledge(), soft, local], teacher=teacher)
    distiller.fit(batches(), epochs=2, verbose=0)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    loaded.set_teacher(teacher)
    logs = [
        model.evaluate(batches(), verbose=0, return_dict=True)
        for model in (distiller, loaded)
    ]
    assert logs[0] == logs[1] and logs[0]["global_knowledge_global"] > 0
    student = keras.models.clone_model(distiller.student)
    assert student.count_params() == TinyDetector(4).count_params()


# What is refused.


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_classes": 0}, "integer, 1 or more.*num_classes=0"),
        ({"instances": "cells"}, "one of.*boxes.*instances='cells'"),
        ({"student_layer": None}, "Name the layers.*student_layer=None"),
        ({"strides": {"P3": 0}}, "positive number of pixels.*strides"),
        ({"level_reduction": "max"}, "one of.*level_reduction='max'"),
        ({"soft_labels": 3}, "path of a layer.*Received: 3"),
        ({"soft_labels": "output"}, "logits of boxes.*instances='boxes'"),
        ({"start_epoch": -1}, "0 or more.*start_epoch=-1"),
        ({"min_side": -1.0}, "not negative.*min_side"),
        ({"adapter_size": 2}, "must be odd.*adapter_size=2"),
        (
            {"global_weight": 0, "foreground_weight": 0, "background_weight": 0},
            "At least one weight must be above 0",
        ),
        (
            {"instances": "images", "strides": None, "background_weight": 1.0},
            "no background.*background_weight=1.0",
        ),
        ({"instances": "images"}, "no pyramid.*strides"),
    ],
)
def test_refuses_and_says_what_it_got(change, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        kd.GlobalKnowledge(**{"num_classes": 2, **SMALL, **change})


def test_other_pyramids_are_refused():
    with pytest.raises(ValueError, match="(?s)stride.*only of levels named as 'P3'"):
        compiled(knowledge(strides=None), with_levels(["fine", "coarse"]))
    with pytest.raises(ValueError, match="must be one that the layer gives.*P7"):
        compiled(knowledge(strides={"P3": 8, "P7": 128}))
    with pytest.raises(ValueError, match=r"same pyramid levels.*\['P3', 'P4'\]"):
        compiled(knowledge(), teacher=with_levels(["P3", "P5"], "teacher"))
    with pytest.raises(ValueError, match="one size.*level='P3'.*8, 12"):
        compiled(knowledge(), teacher=TinyDetector(size=(64, 96), name="teacher"))
    with pytest.raises(ValueError, match="gives a dictionary of maps.*cls_logits"):
        compiled(knowledge(student_layer="cls_logits"))
    shared = knowledge(strides={"P3": 8})
    compiled(shared, teacher=with_levels(["P3", "P5"], "teacher"))
    assert shared.maps.strides == {"P3": 8.0}


class Named(layers.Layer):
    """A pyramid whose levels are called otherwise."""

    def __init__(self, levels):
        super().__init__(name="fpn")
        self.maps = {
            level: layers.Conv2D(6, stride, stride)
            for level, stride in zip(levels, STRIDES.values(), strict=True)
        }

    def call(self, images):
        return {level: convolve(images) for level, convolve in self.maps.items()}


def with_levels(levels, name="student"):
    images = keras.Input((32, 48, 1))
    finest = Named(levels)(images)[levels[0]]
    return keras.Model(images, layers.GlobalAveragePooling2D()(finest), name=name)


def test_models_without_what_soft_labels_ask_for_are_refused():
    bare = with_levels(["P3", "P4"])
    with pytest.raises(ValueError, match="asks the student for matched_boxes"):
        compiled(knowledge(soft_labels="cls_logits"), bare)
    bare = with_levels(["P3", "P4"], "teacher")
    with pytest.raises(ValueError, match="asks the teacher for classify"):
        compiled(knowledge(soft_labels="classify"), teacher=bare)


def test_a_teacher_of_other_width_than_before_is_refused():
    distiller = compiled(knowledge())
    with pytest.raises(ValueError, match="made for a teacher with.*'P3': 5"):
        distiller.set_teacher(TinyDetector(5, name="teacher"))


def test_a_teacher_must_be_known_when_the_adapters_are_made():
    with pytest.raises(ValueError, match="how wide the teacher is.*teacher_dims=None"):
        kd.Distiller(TinyDetector(), knowledge())


@pytest.mark.parametrize(
    "targets, message",
    [
        (np.zeros(4), "'boxes'.*labels.*targets=\\(4,\\)"),
        ({"boxes": np.zeros((4, 3, 4))}, "'labels'.*'boxes': \\(4, 3, 4\\)"),
    ],
)
def test_data_without_boxes_are_refused(targets, message):
    distiller = compiled(knowledge())
    images = np.zeros((4, 32, 48, 1), "f4")
    with pytest.raises(ValueError, match=f"(?s){message}"):
        distiller.methods[0].rows(distiller.views(images, targets))


def test_prototypes_need_instances_of_known_classes():
    method = compiled(knowledge()).methods[0]
    rows = {level: np.ones((2, 4)) for level in STRIDES}
    with pytest.raises(ValueError, match=r"0\.\.1.*Received: label 2"):
        method.take_prototypes(rows, rows, [0, 2])
    empty = {level: np.ones((0, 4)) for level in STRIDES}
    with pytest.raises(ValueError, match="Received: no instance"):
        method.take_prototypes(empty, empty, [])
