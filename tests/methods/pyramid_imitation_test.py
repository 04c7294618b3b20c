"""Imitation of feature pyramids and of detectors' logits, alone and within PAD."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import methods
from keras_distill.methods.instances import foreground_mask, instance_levels
from tests.tiny_detector import STRIDES, TinyDetector, batches, scenes

PYRAMIDS = {"student_layer": "fpn", "teacher_layer": "fpn", "strides": STRIDES}
EXAMPLES = [
    methods.PyramidImitation(
        weight=2.0,
        student_layer="fpn",
        teacher_layer="neck",
        strides={"P3": 8.0},
        cells="foreground",
        level_base=14.0,
        adapter_size=1,
        teacher_dims={"P3": 7},
        name="other",
    ),
]


def compiled(method, teacher=None):
    teacher = teacher or TinyDetector(6, name="teacher")
    distiller = kd.Distiller(TinyDetector(4), method, teacher=teacher)
    distiller.compile(keras.optimizers.SGD(0.0))
    return distiller


@pytest.mark.parametrize("cells", ["all", "foreground"])
def test_is_the_mean_over_the_cells_of_each_image(cells):
    method = methods.PyramidImitation(2.0, cells=cells, level_base=6.0, **PYRAMIDS)
    distiller = compiled(method)
    logs = distiller.evaluate(batches(12, 12), verbose=0, return_dict=True)
    images, targets = scenes()
    squares, inside = [], []
    for number, (level, stride) in enumerate(STRIDES.items()):
        ours, theirs = (
            model.get_layer("fpn")(images)[level]
            for model in (distiller.student, distiller.teacher)
        )
        ours = method.adapters[level](ours)
        squares.append(np.reshape(ours - theirs, (12, -1, 6)) ** 2)
        here = targets["labels"] >= 0
        here &= np.array(instance_levels(targets["boxes"], 2, 6.0)) == number
        mask = foreground_mask(
            targets["boxes"], np.ones(here.shape), here, ours.shape[1:3], stride
        )
        inside.append(np.reshape(mask, (12, -1)) > 0)
    squares, inside = np.concatenate(squares, 1), np.concatenate(inside, 1)
    if cells == "all":
        inside = np.ones_like(inside)
    means = [
        image[there].mean() if there.any() else 0.0
        for image, there in zip(squares, inside, strict=True)
    ]
    expected = np.mean(means)
    assert logs["pyramid_imitation_distance"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["base_loss"] + 2 * expected, rel=1e-4)


def test_without_boxes_all_cells_can_be_imitated():
    student = TinyDetector(4)
    maps = keras.Model(student.input, student.get_layer("fpn").output)
    distiller = kd.Distiller(
        maps, methods.PyramidImitation(**PYRAMIDS), teacher=TinyDetector(6, name="t")
    )
    distiller.compile(keras.optimizers.Adam(0.01))
    losses = distiller.fit(scenes()[0], epochs=8, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]


def test_levels_of_several_widths_and_other_cells_are_refused():
    with pytest.raises(ValueError, match="one width.*'P3': 6, 'P4': 7"):
        method = methods.PyramidImitation(**PYRAMIDS, teacher_dims={"P3": 6, "P4": 7})
        method.build({"fpn": {level: (None, 2, 3, 4) for level in STRIDES}})
    with pytest.raises(ValueError, match=r"one of.*cells='some'"):
        methods.PyramidImitation(**PYRAMIDS, cells="some")
    with pytest.raises(ValueError, match="must be odd.*adapter_size=4"):
        methods.PyramidImitation(**PYRAMIDS, adapter_size=4)
