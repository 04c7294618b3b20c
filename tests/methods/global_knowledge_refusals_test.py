"""Arguments, models and data that global knowledge cannot work with are refused."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from tests.methods.tiny_knowledge import SMALL, compiled, knowledge
from tests.tiny_detector import STRIDES, TinyDetector


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
