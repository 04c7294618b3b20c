"""Whom each image resembles, taught by a teacher of any width."""

import keras

from keras_distill import ranges
from keras_distill.methods.teacher_term import TeacherTerm
from keras_distill.similarity import relational_kl


@keras.saving.register_keras_serializable(package="keras_distill")
class RelationalKL(TeacherTerm):
    """KL(teacher || student) of the similarity rows of a batch.

    `similarity.relational_kl` between a teacher's embeddings and the student's: the
    divergence of S2SD (Roth et al., ICML 2021, https://arxiv.org/abs/2009.08348)
    with a separate, frozen teacher. Widths may differ: no projection is needed.
    Shapes, range and what a batch of one gives are those of the function.

    Args:
        weight: Float >= 0. Cosines at temperature 1 give 1e-3 to 5e-2 nats, so that
            a weight of 50 makes the term as large as a metric-learning loss.
        temperature: Float > 0, divides cosines.
        student_layer: See `methods.TeacherTerm`. Layers must give rows
            `(batch, dim)`.
        teacher_layer: The same for the teacher.
        name: Defaults to `"relational_kl"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_divergence`, nats times temperature squared.

    Raises:
        ValueError: If `weight` or `temperature` is out of its range, or a layer does
            not give rows.
    """

    term_names = ("divergence",)

    def __init__(
        self,
        weight=50.0,
        temperature=1.0,
        student_layer=None,
        teacher_layer=None,
        name="relational_kl",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)
        self.add_coefficient("temperature", temperature, ranges.positive)

    def distance(self, teacher, student):
        return relational_kl(teacher, student, self.temperature)
