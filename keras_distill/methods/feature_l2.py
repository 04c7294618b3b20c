"""Have the teacher's features, number by number."""

import keras
from keras import ops

from keras_distill.methods import agreement
from keras_distill.methods.teacher_term import TeacherTerm


def feature_l2(teacher, student):
    """Squared difference of every feature, not reduced.

        distance[i, d] = (teacher[i, d] - student[i, d])^2

    Args:
        teacher: Tensor `(batch, ..., width)`, not normalised here; gets no gradient.
        student: Tensor of the same shape.

    Returns:
        Float32 tensor of that shape, >= 0, in squared units of the features.

    Raises:
        ValueError: If the shapes differ.
    """
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    agreement.of_shapes(teacher, student)
    return ops.square(ops.stop_gradient(teacher) - student)


@keras.saving.register_keras_serializable(package="keras_distill")
class FeatureL2(TeacherTerm):
    """Mean squared difference of the teacher's and the student's features.

    `feature_l2`, the mean over dimensions (and cells of a map) and images. A student
    of another width is projected by a linear layer, which is trained and stays behind.

    Hints of an inner layer: Romero, Ballas, Kahou, Chassang, Gatta, Bengio, "FitNets:
    Hints for Thin Deep Nets", ICLR 2015, https://arxiv.org/abs/1412.6550, equation 3.
    That is half of the sum over dimensions, minimised before training proper, through
    a convolution with bias and non-linearity; here it is the mean, added to the loss,
    through one linear layer. The regression of a teacher's numbers goes back to Ba and
    Caruana, "Do Deep Nets Really Need to be Deep?", NIPS 2014,
    https://arxiv.org/abs/1312.6184, who regress logits.

    Features are compared as they are. Where both embeddings have length one, the mean
    over D dimensions is at most 4 / D: give a weight of the order of D.

    Args:
        weight: Float >= 0. Defaults to 15, which the authors of Prime-Aware Adaptive
            Distillation (ECCV 2020) give to pooled features that are not normalised.
        student_layer: See `methods.TeacherTerm`. Maps are compared cell by cell and
            must have one grid.
        teacher_layer: The same for the teacher.
        teacher_dim: The teacher's width, where there is no teacher to ask.
        name: Defaults to `"feature_l2"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`.

    Raises:
        ValueError: See `methods.TeacherTerm`; or if the grids of two maps differ.
    """

    per_dim = True
    same_width = True

    def __init__(
        self,
        weight=15.0,
        student_layer=None,
        teacher_layer=None,
        teacher_dim=None,
        name="feature_l2",
        **kwargs,
    ):
        super().__init__(
            weight, student_layer, teacher_layer, teacher_dim, name=name, **kwargs
        )

    def distance(self, teacher, student):
        return feature_l2(teacher, student)
