"""Find the instances of a batch, and the maps of two models that show them."""

import typing

import keras
from keras import ops

from keras_distill.methods.instances import clip_boxes, instances
from keras_distill.methods.pyramid import (
    checked_strides,
    have_other_cells,
    level_strides,
    refuse_other_levels,
)
from keras_distill.models.tap import layer_shape, measured_shape

KINDS = ("boxes", "images")
# The one level of images that are instances themselves.
IMAGE = "image"


class Found(typing.NamedTuple):
    """Instances, and where they can be seen.

    Attributes:
        student: From level to the student's map, float32 `(B, h, w, Cs)`.
        teacher: The same of the teacher, without gradient; `None` where it was not
            asked.
        boxes: Float32 `(B, M, 4)`, cut off at the edges.
        labels: int32 `(B, M)`.
        present: Boolean `(B, M)`: which of the boxes are instances.
    """

    student: dict
    teacher: typing.Any
    boxes: typing.Any
    labels: typing.Any
    present: typing.Any


class InstanceMaps:
    """Reads pyramids and boxes, or rows and labels, from what a step has.

    A row `(batch, C)` of an image that is an instance is a map of one cell, which the
    box of the image covers: all formulas are those of boxes.

    Args:
        num_classes: Integer, labels beyond are no instances; `None` for no limit.
        kind: `"boxes"` or `"images"`.
        student_layer: Path, see `GlobalKnowledge`.
        teacher_layer: Path.
        strides: Dictionary from level to pixels a cell, or `None`.
        teacher_dims: Dictionary from level to channels, or `None`.

    Attributes:
        strides: From level to pixels a cell, finest first, once built.
        student_dims: From level to the student's channels, once built.
        teacher_dims: From level to the teacher's channels.

    Raises:
        ValueError: If an argument is not as above.
    """

    def __init__(
        self,
        num_classes,
        kind,
        student_layer=None,
        teacher_layer=None,
        strides=None,
        teacher_dims=None,
    ):
        if kind not in KINDS:
            raise ValueError(
                f"`instances` must be one of {KINDS}. Received: instances={kind!r}"
            )
        if kind == "boxes" and None in (student_layer, teacher_layer):
            raise ValueError(
                "Name the layers that give the pyramids. Received: "
                f"student_layer={student_layer!r}, teacher_layer={teacher_layer!r}"
            )
        if kind == "images" and strides is not None:
            raise ValueError(
                "Images that are instances have no pyramid. "
                f"Received: strides={strides}, instances='images'"
            )
        self.num_classes, self.kind = num_classes, kind
        self.student_layer, self.teacher_layer = student_layer, teacher_layer
        self.given_strides = checked_strides(strides)
        self.teacher_dims = None if teacher_dims is None else dict(teacher_dims)
        self.strides = self.student_dims = None

    @property
    def student_layers(self):
        return () if self.student_layer is None else (self.student_layer,)

    @property
    def teacher_layers(self):
        return () if self.teacher_layer is None else (self.teacher_layer,)

    def take_teacher(self, teacher, student, name):
        """Learns the teacher's widths; raises if the two do not go together."""
        theirs = layer_shape(teacher, self.teacher_layer)
        if self.kind == "images":
            dims = {IMAGE: None if theirs is None else _row(theirs, "teacher")[-1]}
        else:
            own = layer_shape(student, self.student_layer)
            levels = level_strides(own, self.student_layer, self.given_strides)
            common = [x for x in levels if isinstance(theirs, dict) and x in theirs]
            if any(have_other_cells(own[level], theirs[level]) for level in common):
                # So they say: keras_hub 0.32 says it wrongly of levels beyond P5 where
                # images are not square. One look at an image is certain.
                own = measured_shape(student, self.student_layer)
                theirs = measured_shape(teacher, self.teacher_layer)
            refuse_other_levels(own, theirs, levels)
            dims = {level: theirs[level][-1] for level in levels}
        if self.teacher_dims is None and None not in dims.values():
            self.teacher_dims = dims
        elif None not in dims.values() and dims != self.teacher_dims:
            raise ValueError(
                f"{name!r} was made for a teacher with {self.teacher_dims} channels. "
                f"Received: teacher={teacher.name!r}, which has {dims}"
            )

    def build(self, shapes, name):
        """Learns the student's widths from the shapes of its layers."""
        shape = shapes[self.student_layer or "output"]
        if self.kind == "images":
            self.strides = {IMAGE: 1.0}
            self.student_dims = {IMAGE: _row(shape, "student")[-1]}
        else:
            self.strides = level_strides(shape, self.student_layer, self.given_strides)
            self.student_dims = {level: shape[level][-1] for level in self.strides}
        if self.teacher_dims is None or set(self.teacher_dims) != set(self.strides):
            raise ValueError(
                f"{name!r} must know how wide the teacher is at each of the levels "
                f"{list(self.strides)}: give Distiller(teacher=...) or `teacher_dims`. "
                f"Received: teacher_dims={self.teacher_dims}"
            )

    def read(self, views):
        """What `views` shows, as `Found`.

        Raises:
            ValueError: If boxes or labels are missing, or maps are not those of the
                models that this was built for.
        """
        found = find_instances(views, self.kind, self.num_classes)
        return Found(*self.read_maps(views), *found)

    def read_maps(self, views):
        """Student's and teacher's maps by level; the latter `None` if not asked."""
        student = self._maps(views.layers, self.student_layer, views.embeddings)
        teacher = None
        if views.teacher is not None:
            teacher = self._maps(
                views.teacher_layers, self.teacher_layer, views.teacher
            )
            teacher = {level: ops.stop_gradient(x) for level, x in teacher.items()}
            refuse_other_levels(_shapes(student), _shapes(teacher), self.strides)
            widths = {level: x.shape[-1] for level, x in teacher.items()}
            if widths != self.teacher_dims:
                raise ValueError(
                    "The teacher must have the channels that the method was built "
                    f"for, {self.teacher_dims}. Received: channels={widths}"
                )
        return student, teacher

    def _maps(self, layers, path, output):
        found = output if path is None else layers[path]
        if self.kind == "images":
            found = {IMAGE: found[:, None, None, :]}
        return {level: ops.cast(found[level], "float32") for level in self.strides}


def find_instances(views, kind, num_classes=None):
    """The boxes of a batch, and which of them are instances.

    Args:
        views: `Views`.
        kind: `"boxes"` or `"images"`, where each image is its own box of side 1.
        num_classes: Integer, or `None`.

    Returns:
        `(boxes (B, M, 4), labels (B, M), present (B, M))`, as in `Found`.

    Raises:
        ValueError: If the data set does not yield what is needed.
    """
    targets = views.targets
    if kind == "images":
        labels = targets.get("label") if isinstance(targets, dict) else targets
        if labels is None or len(labels.shape) != 1:
            raise ValueError(
                "Images that are instances need integer labels (batch,), under "
                "'label' where there are several fields. "
                f"Received: targets={_described(targets)}"
            )
        labels = ops.cast(labels, "int32")[:, None]
        corner = ops.ones_like(labels, "float32")
        boxes = ops.stack([0 * corner, 0 * corner, corner, corner], axis=-1)
        return boxes, labels, instances(boxes, labels, num_classes)
    there = isinstance(targets, dict) and {"boxes", "labels"} <= set(targets)
    if not there or len(targets["boxes"].shape) != 3:
        raise ValueError(
            "The data set must yield a dictionary of targets with 'boxes' (batch, "
            "M, 4), x1 y1 x2 y2 in pixels, and 'labels' (batch, M). "
            f"Received: targets={_described(targets)}"
        )
    height, width = ops.shape(keras.tree.flatten(views.images)[0])[1:3]
    boxes = clip_boxes(targets["boxes"], height, width)
    labels = ops.cast(targets["labels"], "int32")
    present = instances(boxes, labels, num_classes, targets.get("mask"))
    return boxes, labels, present


def _shapes(maps):
    return {level: tuple(x.shape) for level, x in maps.items()}


def _row(shape, side):
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(
            "Images that are instances need one row each, (batch, channels): name "
            f"another `{side}_layer`. Received: shape={shape}"
        )
    return shape


def _described(targets):
    if isinstance(targets, dict):
        return {name: tuple(x.shape) for name, x in targets.items()}
    return getattr(targets, "shape", targets)
