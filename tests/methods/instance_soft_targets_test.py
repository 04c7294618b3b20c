"""Soft labels of detectors, instance by instance."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import methods
from tests.tiny_detector import TinyDetector, batches, scenes

EXAMPLES = [
    methods.InstanceSoftTargets(
        logit_dim=4,
        weight=2.0,
        soft_labels="classify",
        temperature=3.0,
        student_layer="fpn",
        teacher_layer="neck",
        name="other",
    ),
]


def divergences(logits, temperature=2.0):
    p, q = (np.exp(x / temperature) for x in logits)
    p, q = (x / x.sum(-1, keepdims=True) for x in (p, q))
    return temperature**2 * np.mean(p * np.log(p / q), -1)


def test_is_the_mean_over_the_anchors_that_have_a_box():
    student, teacher = TinyDetector(4), TinyDetector(6, name="teacher")
    method = methods.InstanceSoftTargets(2, weight=3.0, temperature=4.0)
    distiller = kd.Distiller(student, method, teacher=teacher)
    distiller.compile(keras.optimizers.SGD(0.0))
    logs = distiller.evaluate(batches(12, 12), verbose=0, return_dict=True)
    images, targets = scenes()
    values = divergences([m(images)["logits"] for m in (teacher, student)], 4.0)
    matched = np.array(student.matched_boxes(**targets)) >= 0
    assert not matched[0].any() and matched.sum() > 20
    means = [
        values[image][there].mean() if there.any() else 0.0
        for image, there in enumerate(matched)
    ]
    expected = np.mean(means)
    found = logs["instance_soft_targets_divergence"]
    assert found == pytest.approx(expected, rel=1e-3)
    assert logs["loss"] == pytest.approx(logs["base_loss"] + 3 * expected, rel=1e-4)


def test_logits_must_be_as_wide_as_was_said():
    method = methods.InstanceSoftTargets(3)
    distiller = kd.Distiller(
        TinyDetector(4), method, teacher=TinyDetector(6, name="teacher")
    )
    with pytest.raises(ValueError, match="logit_dim=3"):
        method.rows(distiller.views(*scenes()))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"logit_dim": 0}, "1 or more.*logit_dim=0"),
        ({"soft_labels": "output"}, "logits of boxes"),
        ({"soft_labels": "classify"}, "needs the pyramids.*student_layer=None"),
        ({"soft_labels": ("a", "b", "c")}, "pair of paths"),
        ({"temperature": 0}, "positive.*temperature=0"),
    ],
)
def test_refuses_and_says_what_it_got(change, message):
    with pytest.raises(ValueError, match=message):
        methods.InstanceSoftTargets(**{"logit_dim": 2, **change})
