"""A step of global knowledge is that of the authors, term by term."""

import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill.methods import Batch, Views


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


@pytest.mark.parametrize("temperature", [2.0, 3.0])
def test_without_weights_every_instance_counts_alike(reference, temperature):
    r = reference("gk_rdm_a")
    options = {"global_weight": 0.0, "weighted": False, "temperature": temperature}
    plain, _, _ = step(r, **options)
    assert set(plain) == {"foreground", "background", "soft_labels"}
    (p, q) = (np.exp(r[f"{s}_logits"] / temperature) for s in ("teacher", "student"))
    p, q = (x / x.sum(1, keepdims=True) for x in (p, q))
    expected = temperature**2 * np.mean(p * np.log(p / q))
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
