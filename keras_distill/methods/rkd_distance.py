"""Keep the teacher's distances between images, up to scale."""

import keras
from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.teacher_term import TeacherTerm
from keras_distill.similarity import safe_sqrt, squared_distances


def rkd_distance(teacher, student):
    """Huber loss of the difference of relative distances, row by row.

        D[i, j] = ||x_i - x_j|| / mean over k != l of ||x_k - x_l||
        distance[i] = mean over j != i of huber(D_teacher[i, j] - D_student[i, j])

    with the Huber loss of width 1. Widths may differ. Does not change when teacher or
    student are scaled, rotated, mirrored or moved.

    A batch of one has no pairs and gives 0. Where all rows are equal, all distances are
    0 and stay so, without a division by their mean; a student of such rows gets no
    gradient. Rows that differ by less than float32 can tell count as equal. (With
    TF32, TensorFlow's default on NVIDIA GPUs, see `similarity`, equal unit rows come
    out 0.01 to 0.03 apart instead.)

    Args:
        teacher: Tensor `(batch, teacher_dim)`; gets no gradient.
        student: Tensor `(batch, dim)`.

    Returns:
        Float32 tensor `(batch,)`, >= 0, without unit.

    Raises:
        ValueError: If an input is not of rank 2, or the batch sizes differ.
    """
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    agreement.of_rows(teacher, student)
    of_teacher = _relative_distances(ops.stop_gradient(teacher))
    gaps = huber(of_teacher - _relative_distances(student))  # (B, B), diagonal 0
    return ops.sum(gaps, axis=1) / _at_least_1(_count(student) - 1.0)


def huber(x):
    """`x^2 / 2` up to |x| = 1, `|x| - 1/2` beyond; elementwise."""
    size = ops.abs(x)
    near = ops.minimum(size, 1.0)
    return near * (size - 0.5 * near)


def resolution(x):
    """Which rows are too near each other for float32 to tell how near.

    Args:
        x: Float32 tensor `(batch, dim)`.

    Returns:
        Tensor `(batch, 1)`. Rows `i` and `j` are as good as equal where their squared
        distance is at most the sum of the `i`-th and the `j`-th number: where they
        differ by a millionth of their length, eight times the spacing of float32.
    """
    return 1e-12 * ops.sum(ops.square(x), axis=1, keepdims=True)


def _relative_distances(x):
    """`(batch, batch)` distances, of mean 1 off the diagonal unless all are 0."""
    nearest = resolution(x)
    # Distances do not see where the rows are, but their rounding errors do.
    x = x - ops.stop_gradient(ops.mean(x, axis=0, keepdims=True))
    # Squares from inner products are off by up to 5e-7 of the rows' own squares. Left
    # in place of an exact 0, that would be 1e-3 of a row's length in the root.
    nearest += 1e-6 * ops.sum(ops.square(x), axis=1, keepdims=True)
    squared = squared_distances(x)
    apart = squared > nearest + ops.transpose(nearest)
    lengths = safe_sqrt(ops.where(apart, squared, 0.0))
    count = _count(x)
    mean = ops.sum(lengths) / _at_least_1(count * (count - 1.0))
    return lengths / ops.where(mean > 0.0, mean, 1.0)


def _count(x):
    return ops.cast(ops.shape(x)[0], "float32")


def _at_least_1(x):
    return ops.maximum(x, 1.0)


@keras.saving.register_keras_serializable(package="keras_distill")
class RKDDistance(TeacherTerm):
    """Distance-wise relational knowledge distillation.

    `rkd_distance` between a teacher's embeddings and the student's: Park, Kim, Lu,
    Cho, "Relational Knowledge Distillation", CVPR 2019,
    https://arxiv.org/abs/1904.05068, section 3.2.1. Widths may differ: no projection is
    needed.

    The paper sums over pairs of different images; the mean over them is taken here, an
    image having the pairs that begin at it. The authors' code takes the mean over all
    B * B entries, the zeros of the diagonal included: (B - 1) / B of ours. It divides
    by the mean of the distances above zero, which is another number only where images
    of a batch coincide.

    The authors train embeddings that are not normalised with this term and `RKDAngle`
    alone: a student on the sphere cannot follow every relation of its teacher.

    Args:
        weight: Float >= 0. The authors give 1 to this and 2 to `RKDAngle` when they
            distil embeddings.
        student_layer: See `methods.TeacherTerm`. Layers must give rows
            `(batch, dim)`.
        teacher_layer: The same for the teacher.
        name: Defaults to `"rkd_distance"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: If `weight` is out of its range, or a layer does not give rows.
    """

    def __init__(
        self,
        weight=1.0,
        student_layer=None,
        teacher_layer=None,
        name="rkd_distance",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)

    def distance(self, teacher, student):
        return rkd_distance(teacher, student)
