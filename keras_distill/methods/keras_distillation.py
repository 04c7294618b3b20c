"""Keras's own distillation losses as terms of a Distiller."""

import re

import keras

from keras_distill import replicas
from keras_distill.methods.method import Method, Term


@keras.saving.register_keras_serializable(package="keras_distill")
class KerasDistillation(Method):
    """A `keras.distillation.DistillationLoss` in a `Distiller`.

    `Distiller(methods=[loss])` makes this of a bare loss. Against
    `keras.distillation.Distiller`, the student runs once a step also when a layer
    is named, nested layers can be named (`"backbone/block_3_add"`), and teacher and
    student may differ in resolution and dtype; what the loss itself requires still
    holds (`FeatureDistillation("mse")` wants equal widths).

    Note that `keras.distillation.LogitsDistillation` applies its default
    divergence to logits, not to probabilities, in Keras 3.15: pass
    `loss=keras.losses.KLDivergence()`.

    Args:
        distillation_loss: A `keras.distillation.DistillationLoss`.
        weight: Float >= 0.
        name: Defaults to the name of the class of `distillation_loss`, in snake case.
        **kwargs: See `keras.layers.Layer`.

    Raises:
        ValueError: If `weight` is out of its range; if called on several replicas.
            Keras's losses return scalars, of which the library cannot tell whether
            they are already divided by the number of replicas.
    """

    term_names = ("distillation",)
    needs_teacher = True

    def __init__(self, distillation_loss, weight=1.0, name=None, **kwargs):
        if isinstance(distillation_loss, dict):
            distillation_loss = keras.saving.deserialize_keras_object(distillation_loss)
        kind = type(distillation_loss).__name__
        snake_case = re.sub("(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        super().__init__(name=name or snake_case, **kwargs)
        self.distillation_loss = distillation_loss
        self.add_coefficient("weight", weight)
        self._student_layer = getattr(distillation_loss, "student_layer_name", None)
        self._teacher_layer = getattr(distillation_loss, "teacher_layer_name", None)

    @property
    def student_layers(self):
        return [self._student_layer] if self._student_layer else []

    @property
    def teacher_layers(self):
        return [self._teacher_layer] if self._teacher_layer else []

    def rows(self, views):
        student = views.layers.get(self._student_layer, views.embeddings)
        teacher = views.teacher_layers.get(self._teacher_layer, views.teacher)
        return {"student": student, "teacher": teacher}

    def terms(self, batch):
        if replicas.count() > 1:
            raise ValueError(
                "Losses of keras.distillation cannot be used on several replicas; "
                "use methods of keras_distill. "
                f"Received: {replicas.count()} replicas, method={self.name!r}"
            )
        teacher, student = batch.rows["teacher"], batch.rows["student"]
        self.distillation_loss.validate_outputs(teacher, student)
        value = self.distillation_loss.compute_loss(teacher, student)
        return {"distillation": Term(value, self.weight)}

    def get_config(self):
        loss = keras.saving.serialize_keras_object(self.distillation_loss)
        return {**super().get_config(), "distillation_loss": loss}
