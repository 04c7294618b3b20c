"""What every term has in common that compares the student with a teacher."""

import typing

import keras
from keras import layers, ops

from keras_distill import ranges
from keras_distill.methods.compared_widths import widths
from keras_distill.methods.method import Method, Term
from keras_distill.models.tap import layer_shape


class Comparison(typing.NamedTuple):
    """How far the student is from the teacher, not yet reduced.

    Attributes:
        distance: Float32 >= 0: `(batch,)`; or, of a term with `per_dim`,
            `(batch, ..., width)`, one value for each number that is compared. The axes
            between are cells of a map or instances of an image.
        features: `(batch, ..., channels)`: the student's side, from which PAD predicts
            the log-variance of `distance`; axes as there. `None` for the embedding.
        mask: `None`; or booleans `(batch, ...)`, without the last axis of a per-dim
            distance: which cells or instances there are. What is masked counts
            nothing and may hold any finite number.
    """

    distance: typing.Any
    features: typing.Any = None
    mask: typing.Any = None


def row_means(values, mask=None):
    """Means over all axes but the first, of what the mask lets through.

    Args:
        values: `(batch, ...)`.
        mask: `None`, or booleans of the shape of `values` or `(batch, ..., 1)`.

    Returns:
        `(batch,)`. A row of which nothing is left is 0.
    """
    axes = tuple(range(1, len(values.shape)))
    if mask is None:
        return ops.mean(values, axis=axes) if axes else values
    counted = ops.cast(ops.broadcast_to(mask, ops.shape(values)), values.dtype)
    kept = ops.where(mask, values, 0.0)
    return ops.sum(kept, axes) / ops.maximum(ops.sum(counted, axes), 1.0)


class TeacherTerm(Method):
    """Base of the terms that compare student with teacher, image by image.

    A subclass defines `distance(teacher, student)`, unreduced, so that sample weights
    apply to images and `PAD` can weigh them. The term of the loss is
    `weight * mean(distance)`, over images and, of a per-dim distance, over dimensions.

    Args:
        weight: Float >= 0.
        student_layer: Path of the student's layer that is compared; `None` for its
            output (of several outputs, the layer `embedding`).
        teacher_layer: The same for the teacher.
        teacher_dim: For terms that compare number with number (`same_width`): the
            width of the teacher. `None` to take it from the teacher; needed where there
            is none at hand, as when its embeddings come from a cache. Where the
            student's width is another, a linear layer without bias projects the
            student to the teacher's: it is trained, and stays behind.
        **kwargs: See `keras.layers.Layer`.

    Attributes:
        per_dim: Whether `distance` keeps the compared dimensions.
        same_width: Whether teacher and student must be of one width.
        projection: The linear layer, `None` where none is needed.

    Raises:
        ValueError: If an argument is out of its range; if a term that needs to know
            the teacher's width is built without; if a teacher of another width comes,
            or one with several outputs of which `teacher_layer` names none.
    """

    term_names = ("distance",)
    needs_teacher = True
    per_dim = False
    same_width = False

    def __init__(
        self,
        weight,
        student_layer=None,
        teacher_layer=None,
        teacher_dim=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if teacher_dim is not None:
            ranges.count(1, teacher_dim=teacher_dim)
            teacher_dim = int(teacher_dim)
        self.add_coefficient("weight", weight)
        self.student_layer = student_layer
        self.teacher_layer = teacher_layer
        self.teacher_dim = teacher_dim
        self.projection = None

    @property
    def student_layers(self):
        return () if self.student_layer is None else (self.student_layer,)

    @property
    def teacher_layers(self):
        return () if self.teacher_layer is None else (self.teacher_layer,)

    def take_teacher(self, teacher, student):
        # Also refuses a teacher with several outputs of which none is named.
        shape = layer_shape(teacher, self.teacher_layer)
        if not self.same_width:
            return
        width = None if shape is None else shape[-1]
        if self.teacher_dim is None:
            self.teacher_dim = width
        elif width not in (None, self.teacher_dim):
            raise ValueError(
                f"{self.name!r} compares with a teacher of {self.teacher_dim} "
                f"dimensions. Received: teacher={teacher.name!r}, which has {width}"
            )

    def build(self, shapes):
        if self.same_width:
            if self.teacher_dim is None:
                raise ValueError(
                    f"{self.name!r} must know how wide the teacher is: give "
                    "Distiller(teacher=...) or, for cached embeddings and for "
                    f"subclassed models, {type(self).__name__}(teacher_dim=...). "
                    "Received: teacher_dim=None"
                )
            width = shapes[self.student_layer or "output"][-1]
            if width != self.teacher_dim:
                self.projection = self.make_projection(width)
        self.built = True

    def make_projection(self, width):
        """The layer that brings a student of `width` to `teacher_dim`."""
        projection = layers.Dense(
            self.teacher_dim, use_bias=False, dtype="float32", name="projection"
        )
        projection.build((None, width))
        return projection

    def rows(self, views):
        student, teacher = views.embeddings, views.teacher
        if self.student_layer is not None:
            student = views.layers[self.student_layer]
        if self.teacher_layer is not None:
            teacher = views.teacher_layers[self.teacher_layer]
        student, teacher = ops.cast(student, "float32"), ops.cast(teacher, "float32")
        if self.same_width and teacher.shape[-1] != self.teacher_dim:
            raise ValueError(
                f"{self.name!r} compares with a teacher of {self.teacher_dim} "
                "dimensions. Received: teacher outputs (or cached embeddings) of "
                f"shape {tuple(teacher.shape)}"
            )
        if self.projection is not None:
            student = self.projection(student)
        return {"student": student, "teacher": ops.stop_gradient(teacher)}

    def distance(self, teacher, student):
        """How far each image's student is from its teacher.

        Args:
            teacher: Float32 tensor `(batch, ...)`, gets no gradient.
            student: Float32 tensor `(batch, ...)`, projected where it has to be.

        Returns:
            Float32 `(batch,)`, or `(batch, ..., width)` of a term with `per_dim`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `distance`.")

    def compare(self, rows):
        """The comparison that the term reduces and that `PAD` weighs.

        Args:
            rows: What `rows` returned, of the global batch.

        Returns:
            `Comparison`.
        """
        distance = self.distance(rows["teacher"], rows["student"])
        return Comparison(distance, rows["student"] if self.per_dim else None)

    def widths(self, shapes):
        """Channels of `features` and width of `distance`, as `compare` returns them.

        `PAD` builds its head by them. Of a term with one distance a sample the second
        may be any integer.

        Args:
            shapes: As for `build`.
        """
        return widths(self, shapes)

    def terms(self, batch):
        distance, _, mask = self.compare(batch.rows)
        if mask is not None and self.per_dim:
            mask = ops.expand_dims(mask, -1)
        (name,) = self.term_names
        return {name: Term(row_means(distance, mask), self.weight)}

    def get_config(self):
        config = {
            **super().get_config(),
            "student_layer": self.student_layer,
            "teacher_layer": self.teacher_layer,
        }
        if self.same_width:
            config["teacher_dim"] = self.teacher_dim
        return config


def restored(term):
    """A term from its configuration, or the term itself."""
    if isinstance(term, dict):
        return keras.saving.deserialize_keras_object(term)
    return term
