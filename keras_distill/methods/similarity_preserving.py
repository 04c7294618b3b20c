"""Activate alike where the teacher activates alike."""

import keras
from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.teacher_term import TeacherTerm
from keras_distill.similarity import normalize


def similarity_preserving(teacher, student):
    """Squared difference of normalised Gram matrices, row by row.

        G = A A^T of the flattened activations A, each row scaled to length 1
        distance[i] = 1 / batch * sum_j (G_teacher[i, j] - G_student[i, j])^2

    The mean over rows is ||G_teacher - G_student||_F^2 / batch^2. Shapes may differ but
    for the batch. Does not change when teacher or student are scaled or rotated; it
    does when they are moved.

    An image without activation has a row of zeros and gets no gradient. A batch of one
    gives 0 unless one of the two is zero.

    Args:
        teacher: Tensor `(batch, ...)`: rows or maps, which are flattened; gets no
            gradient.
        student: Tensor `(batch, ...)`.

    Returns:
        Float32 tensor `(batch,)` in [0, 4 / batch].

    Raises:
        ValueError: If the batch sizes differ.
    """
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    agreement.of_batches(teacher, student)
    gaps = _gram(ops.stop_gradient(teacher)) - _gram(student)  # (B, B)
    return ops.mean(ops.square(gaps), axis=1)


def _gram(x):
    x = ops.reshape(x, (ops.shape(x)[0], -1))
    return normalize(ops.matmul(x, ops.transpose(x)))


@keras.saving.register_keras_serializable(package="keras_distill")
class SimilarityPreserving(TeacherTerm):
    """Similarity-preserving knowledge distillation.

    `similarity_preserving` between activations of a teacher and of the student: Tung,
    Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019,
    https://arxiv.org/abs/1907.09682. Shapes may differ: no projection is needed.

    The paper compares the activations of the last convolutions, which is
    `student_layer="features", teacher_layer="features"`; by default the embeddings are
    compared. The mean over rows is the paper's loss for one pair of layers; for several
    add a term for each.

    Args:
        weight: Float >= 0, the paper's gamma. Its 3000 is for batches of 128; the term
            is at most 4 / batch.
        student_layer: See `methods.TeacherTerm`. Rows or maps.
        teacher_layer: The same for the teacher.
        name: Defaults to `"similarity_preserving"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: If `weight` is out of its range.
    """

    def __init__(
        self,
        weight=3000.0,
        student_layer=None,
        teacher_layer=None,
        name="similarity_preserving",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)

    def distance(self, teacher, student):
        return similarity_preserving(teacher, student)
