"""Global knowledge trains detectors, beside other methods, and is saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import methods
from keras_distill.callbacks import PrototypeRefresh
from keras_distill.methods.robust_distillation import discrepancy_weights
from tests.methods.tiny_knowledge import PYRAMIDS, compiled, cosine, knowledge
from tests.tiny_detector import ANCHORS, STRIDES, TinyDetector, batches, scenes

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
