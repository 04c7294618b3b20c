"""Whom each image resembles, taught by a teacher of any width."""

import keras

from keras_distill.methods.method import Method, Term
from keras_distill.similarity import relational_kl


@keras.saving.register_keras_serializable(package="keras_distill")
class RelationalKL(Method):
    """KL(teacher || student) of the similarity rows of a batch.

    `similarity.relational_kl` between a teacher's embeddings and the student's: the
    divergence of S2SD (Roth et al., ICML 2021, https://arxiv.org/abs/2009.08348)
    with a separate, frozen teacher. Widths may differ: no projection is needed.

    Args:
        weight: Float >= 0. Cosines at temperature 1 give 1e-3 to 5e-2 nats, so that
            a weight of 50 makes the term as large as a metric-learning loss.
        temperature: Float > 0, divides cosines.
        name: Defaults to `"relational_kl"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_divergence`, nats times temperature squared.

    Raises:
        ValueError: If `weight` or `temperature` is out of its range.
    """

    term_names = ("divergence",)
    needs_teacher = True

    def __init__(self, weight=50.0, temperature=1.0, name="relational_kl", **kwargs):
        super().__init__(name=name, **kwargs)
        if not 0 <= weight < float("inf"):
            raise ValueError(
                f"`weight` must be finite and not negative. Received: weight={weight}"
            )
        if not 0 < temperature < float("inf"):
            raise ValueError(
                "`temperature` must be positive and finite. "
                f"Received: temperature={temperature}"
            )
        self.add_coefficient("weight", weight)
        self.add_coefficient("temperature", temperature)

    def rows(self, views):
        return {"teacher": views.teacher}

    def terms(self, batch):
        teacher = batch.rows["teacher"]
        values = relational_kl(teacher, batch.embeddings, self.temperature)
        return {"divergence": Term(values, self.weight)}
