"""Point where the teacher's features point."""

import keras
from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.teacher_term import TeacherTerm, row_means
from keras_distill.similarity import normalize


def feature_cosine(teacher, student):
    """One minus the cosine of teacher and student.

    A row of zeros, the teacher's or the student's, has no direction: its cosine is 0,
    its distance 1, and the student gets no gradient from it.

    Args:
        teacher: Tensor `(batch, ..., width)`, any scale; gets no gradient.
        student: Tensor of the same shape, any scale.

    Returns:
        Float32 tensor `(batch,)` in [0, 2]. Over axes between (the cells of a map) the
        mean of the cells' distances is taken.

    Raises:
        ValueError: If the shapes differ.
    """
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    agreement.of_shapes(teacher, student)
    products = normalize(ops.stop_gradient(teacher)) * normalize(student)
    # Rounding takes the cosine of equal rows to either side of 1.
    return row_means(ops.maximum(1.0 - ops.sum(products, axis=-1), 0.0))


@keras.saving.register_keras_serializable(package="keras_distill")
class FeatureCosine(TeacherTerm):
    """One minus the cosine of the teacher's and the student's features.

    `feature_cosine`: directions are compared, lengths are free. A student of another
    width is projected by a linear layer, which is trained and stays behind.

    The loss that aligns hidden states in Sanh, Debut, Chaumond, Wolf, "DistilBERT, a
    distilled version of BERT", NeurIPS EMC2 workshop 2019,
    https://arxiv.org/abs/1910.01108. There widths are equal and the mean runs over all
    tokens of a batch; here first over the cells of an image, which is the same as long
    as all images have as many.

    Args:
        weight: Float >= 0. Distances are in [0, 2]; DistilBERT's weight is 1.
        student_layer: See `methods.TeacherTerm`. Maps are compared cell by cell and
            must have one grid.
        teacher_layer: The same for the teacher.
        teacher_dim: The teacher's width, where there is no teacher to ask.
        name: Defaults to `"feature_cosine"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: See `methods.TeacherTerm`; or if the grids of two maps differ.
    """

    same_width = True

    def __init__(
        self,
        weight=1.0,
        student_layer=None,
        teacher_layer=None,
        teacher_dim=None,
        name="feature_cosine",
        **kwargs,
    ):
        super().__init__(
            weight, student_layer, teacher_layer, teacher_dim, name=name, **kwargs
        )

    def distance(self, teacher, student):
        return feature_cosine(teacher, student)
