"""Have the teacher's feature maps, at every level of a detector's pyramid."""

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.methods.feature_l2 import feature_l2
from keras_distill.methods.instance_maps import InstanceMaps, find_instances
from keras_distill.methods.instances import foreground_mask, instance_levels
from keras_distill.methods.pyramid import adapter, refuse_even
from keras_distill.methods.teacher_term import TeacherTerm

CELLS = ("all", "foreground")


@keras.saving.register_keras_serializable(package="keras_distill")
class PyramidImitation(TeacherTerm):
    """Mean squared difference of two feature pyramids, cell by cell.

    The local term of `GlobalKnowledge` without its weights and without the split in
    foreground and background, as a term that `PAD` can wrap: each cell is a sample, and
    a variance is learned for each channel. A linear convolution a level brings the
    student's maps to the teacher's width; it is trained and stays behind. The mean is
    that over the cells of all levels of an image: finer levels, which have more cells,
    weigh more.

    Under several replicas the maps themselves are gathered.

    Args:
        weight: Float >= 0.
        student_layer: See `GlobalKnowledge`.
        teacher_layer: The same.
        strides: The same. All levels of the teacher must be of one width.
        cells: `"all"`; or `"foreground"`, the cells within boxes, each box on the level
            of its size, for which the data set has to yield boxes.
        level_base: Float > 0, see `instances.instance_levels`.
        adapter_size: Odd integer >= 1, see `GlobalKnowledge`.
        teacher_dims: Dictionary from level to the teacher's channels, or `None`.
        name: Defaults to `"pyramid_imitation"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: If an argument is out of its range; if the models have other levels.
    """

    per_dim = True
    needs_embedding = False

    def __init__(
        self,
        weight=1.0,
        student_layer=None,
        teacher_layer=None,
        strides=None,
        cells="all",
        level_base=56.0,
        adapter_size=3,
        teacher_dims=None,
        name="pyramid_imitation",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)
        if cells not in CELLS:
            raise ValueError(f"`cells` must be one of {CELLS}. Received: {cells=}")
        self.maps = InstanceMaps(
            None, "boxes", student_layer, teacher_layer, strides, teacher_dims
        )
        ranges.positive(level_base=level_base)
        refuse_even(adapter_size=adapter_size)
        self.cells, self.level_base = cells, float(level_base)
        self.adapter_size = int(adapter_size)
        self.adapters = {}

    def take_teacher(self, teacher, student):
        self.maps.take_teacher(teacher, student, self.name)

    def build(self, shapes):
        self.maps.build(shapes, self.name)
        ours, theirs = self.maps.student_dims, self.maps.teacher_dims
        if len(set(theirs.values())) > 1:
            raise ValueError(
                f"{self.name!r} compares the cells of all levels, which must be of one "
                f"width in the teacher. Received: channels={theirs}"
            )
        self.adapters = {
            level: adapter(
                ours[level], theirs[level], self.adapter_size, f"adapter_{level}"
            )
            for level in ours
        }
        self.built = True

    def widths(self, shapes):
        (width,) = set(self.maps.teacher_dims.values())
        return width, width

    def rows(self, views):
        student, teacher = self.maps.read_maps(views)
        student = {level: self.adapters[level](x) for level, x in student.items()}
        rows = {"student": _cells(student), "teacher": _cells(teacher)}
        if self.cells == "foreground":
            rows["mask"] = self._foreground(views, teacher)
        return rows

    def _foreground(self, views, maps):
        boxes, _, present = find_instances(views, "boxes")
        level_of = instance_levels(boxes, len(maps), self.level_base)
        ones = ops.ones_like(present, "float32")
        masks = {
            level: foreground_mask(
                boxes,
                ones,
                ops.logical_and(present, level_of == number),
                maps[level].shape[1:3],
                stride,
            )[..., None]
            for number, (level, stride) in enumerate(self.maps.strides.items())
        }
        return _cells(masks)[..., 0] > 0

    def distance(self, teacher, student):
        return feature_l2(teacher, student)

    def compare(self, rows):
        comparison = super().compare(rows)
        return comparison._replace(mask=rows.get("mask"))

    def get_config(self):
        return {
            **super().get_config(),
            "strides": self.maps.given_strides,
            "cells": self.cells,
            "level_base": self.level_base,
            "adapter_size": self.adapter_size,
            "teacher_dims": self.maps.teacher_dims,
        }


def _cells(maps):
    """Maps of all levels, cell after cell: `(B, cells, channels)`."""

    def flat(x):
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))

    return ops.concatenate([flat(x) for x in maps.values()], axis=1)
