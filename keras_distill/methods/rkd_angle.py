"""Keep the angles that images make in the teacher's space."""

import keras
from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.rkd_distance import huber, resolution
from keras_distill.methods.teacher_term import TeacherTerm
from keras_distill.similarity import normalize


def rkd_angle(teacher, student):
    """Huber loss of the difference of cosines of angles, vertex by vertex.

        e[i, j] = (x_j - x_i) / ||x_j - x_i||
        distance[i] = mean over j, k of huber(<e[i, j], e[i, k]> of the teacher
                                              - <e[i, j], e[i, k]> of the student)

    with the Huber loss of width 1. Image `i` is the vertex, at which the angle is: of
    the three points of an angle the one that has all of it. The mean runs over all
    `batch^2` pairs of legs, of which those with `j = i`, `k = i` or `j = k` are 0.
    Widths may differ. Does not change when teacher or student are scaled, rotated,
    mirrored or moved.

    Where two of the points are equal, in the teacher's space or in the student's,
    there is no angle and the pair of legs counts 0, with gradient 0. A batch of one or
    two has no angles and gives 0.

    Memory: a few tensors of `batch^2 * dim` and of `batch^3` floats. A batch of 112
    with a teacher of 2048 dimensions takes 100 MB for each of the first kind.

    Args:
        teacher: Tensor `(batch, teacher_dim)`; gets no gradient.
        student: Tensor `(batch, dim)`.

    Returns:
        Float32 tensor `(batch,)` in [0, 3/2].

    Raises:
        ValueError: If an input is not of rank 2, or the batch sizes differ.
    """
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    agreement.of_rows(teacher, student)
    to_teacher, teacher_apart = _legs(ops.stop_gradient(teacher))
    to_student, student_apart = _legs(student)
    both = ops.expand_dims(ops.logical_and(teacher_apart, student_apart), -1)
    gaps = _cosines(to_teacher, both) - _cosines(to_student, both)  # (B, B, B)
    return ops.mean(huber(gaps), axis=(1, 2))


def _legs(x):
    """`(batch, batch, dim)` from row to row, and which of them have a direction."""
    # Not from inner products: legs are short where the rows are near each other.
    legs = ops.expand_dims(x, 0) - ops.expand_dims(x, 1)
    nearest = resolution(x)
    squares = ops.sum(ops.square(legs), axis=-1)
    return legs, squares > nearest + ops.transpose(nearest)


def _cosines(legs, apart):
    """`(batch, batch, batch)`: at vertex `i`, of the legs to `j` and to `k`."""
    unit = normalize(ops.where(apart, legs, 0.0))
    return ops.matmul(unit, ops.transpose(unit, (0, 2, 1)))


@keras.saving.register_keras_serializable(package="keras_distill")
class RKDAngle(TeacherTerm):
    """Angle-wise relational knowledge distillation.

    `rkd_angle` between a teacher's embeddings and the student's: Park, Kim, Lu, Cho,
    "Relational Knowledge Distillation", CVPR 2019, https://arxiv.org/abs/1904.05068,
    section 3.2.2. Widths may differ: no projection is needed.

    The paper sums over triples of different images, with the vertex in the middle. As
    in the authors' code, the mean over all B^3 entries is taken instead, which is
    (B - 1)(B - 2) / B^2 of the mean over triples. Where points are equal in one space
    only, their code compares the other's angle with 0; here such a triple is left out.

    Args:
        weight: Float >= 0. The authors give 2 to this and 1 to `RKDDistance` when they
            distil embeddings.
        student_layer: See `methods.TeacherTerm`. Layers must give rows
            `(batch, dim)`.
        teacher_layer: The same for the teacher.
        name: Defaults to `"rkd_angle"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: If `weight` is out of its range, or a layer does not give rows.
    """

    def __init__(
        self,
        weight=2.0,
        student_layer=None,
        teacher_layer=None,
        name="rkd_angle",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)

    def distance(self, teacher, student):
        return rkd_angle(teacher, student)
