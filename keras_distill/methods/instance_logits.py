"""The class logits that two models have for the instances of a batch."""

import typing

from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.robust_distillation import soft_label_loss

# What a user may write in place of the path of a layer.
CLASSIFY = "classify"
OUTPUT = "output"


class Logits(typing.NamedTuple):
    """Logits of both models, and which instance each row of them is about.

    Attributes:
        student: `(B, A, classes)`.
        teacher: `(B, A, classes)`, without gradient.
        matches: int32 `(B, A)`, which box; -1 for none.
    """

    student: typing.Any
    teacher: typing.Any
    matches: typing.Any


class InstanceLogits:
    """Where the logits of instances come from.

    Args:
        source: Path of the layer of logits in both models, or a pair of paths;
            `"classify"` where both models classify given boxes; `"output"` for what
            they put out. See `GlobalKnowledge`.
        kind: `"boxes"` or `"images"`.
        pyramids: Pair of paths, of the layers that give the pyramids, for `"classify"`.

    Raises:
        ValueError: If `source` is none of these, or not of this kind.
    """

    def __init__(self, source, kind, pyramids=(None, None)):
        paths = (source, source) if isinstance(source, str) else source
        if not isinstance(paths, list | tuple) or [type(p) for p in paths] != [str] * 2:
            raise ValueError(
                "Soft labels come from the path of a layer, a pair of paths (student, "
                f"teacher), 'classify' or 'output'. Received: {source!r}"
            )
        if (source, kind) in ((CLASSIFY, "images"), (OUTPUT, "boxes")):
            raise ValueError(
                "'classify' gives the logits of boxes, and 'output' those of images. "
                f"Received: {source!r} with instances={kind!r}"
            )
        if source == CLASSIFY and None in pyramids:
            raise ValueError(
                "'classify' needs the pyramids that boxes are classified on. "
                f"Received: student_layer={pyramids[0]!r}, "
                f"teacher_layer={pyramids[1]!r}"
            )
        self.source, self.kind = source, kind
        self._paths = paths
        if source == CLASSIFY:
            self._paths = pyramids
        elif source == OUTPUT:
            self._paths = None
        self._models = {}

    def paths(self, side):
        """Layers to be read in the student (0) or the teacher (1)."""
        return () if self._paths is None else (self._paths[side],)

    def take(self, side, model, name):
        """Receives the student or the teacher, and raises if it lacks what is asked."""
        wanted = None
        if self.source == CLASSIFY:
            wanted = "classify", "classify(pyramid, boxes), logits (batch, M, classes)"
        elif self.kind == "boxes" and side == "student":
            wanted = (
                "matched_boxes",
                "matched_boxes(boxes, labels), integers (batch, A): which box an "
                "anchor is to detect",
            )
        if wanted is None:
            return
        if not callable(getattr(model, wanted[0], None)):
            raise ValueError(
                f"For soft labels {name!r} asks the {side} for {wanted[1]}. Received: "
                f"{side}={model.name!r} of type {type(model).__name__}, which has no "
                f"such method"
            )
        self._models[side] = getattr(model, wanted[0])

    def read(self, views, boxes, labels, present):
        """The logits of a step.

        Args:
            views: `Views`.
            boxes: `(B, M, 4)`.
            labels: int32 `(B, M)`.
            present: Boolean `(B, M)`.

        Returns:
            `Logits`.

        Raises:
            ValueError: If they are not of one shape.
        """
        student, teacher = views.embeddings, views.teacher
        if self._paths is not None:
            student = views.layers[self._paths[0]]
            teacher = views.teacher_layers[self._paths[1]]
        matches = 0 * labels
        if self.source == CLASSIFY:
            student = self._models["student"](student, boxes)
            teacher = self._models["teacher"](teacher, boxes)
            matches += ops.arange(ops.shape(labels)[1], dtype="int32")
        elif self.kind == "images":
            student, teacher = student[:, None], teacher[:, None]
        else:
            matched = self._models["student"](boxes, ops.where(present, labels, -1))
            matches = ops.cast(matched, "int32")
        student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
        agreement.of_shapes(teacher, student)
        there = ops.logical_and(matches >= 0, of_boxes(present, matches))
        matches = ops.where(there, matches, -1)
        return Logits(student, ops.stop_gradient(teacher), matches)


def soft_label_sums(logits, weights, temperature):
    """`soft_label_loss` of the rows that are about an instance, summed by image.

    Args:
        logits: `Logits`.
        weights: Float32 `(B, M)`, of the instances.
        temperature: Float > 0.

    Returns:
        Float32 `(B,)` twice: the sums, and how many rows they are of.
    """
    matched = logits.matches >= 0
    values = soft_label_loss(
        logits.student,
        logits.teacher,
        of_boxes(weights, logits.matches),
        temperature,
    )
    sums = ops.sum(ops.where(matched, values, 0.0), axis=1)
    return sums, ops.sum(ops.cast(matched, "float32"), axis=1)


def of_boxes(values, matches):
    """The value of the box that each row of logits is about.

    Args:
        values: `(B, M)`.
        matches: int32 `(B, A)`; what -1 gives has no meaning.

    Returns:
        `(B, A)`.
    """
    return ops.take_along_axis(values, ops.maximum(matches, 0), axis=1)
