"""Knowledge distillation on what two detectors say of the same instances."""

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.methods.instance_logits import InstanceLogits
from keras_distill.methods.instance_maps import find_instances
from keras_distill.methods.robust_distillation import soft_label_loss
from keras_distill.methods.teacher_term import Comparison, TeacherTerm


@keras.saving.register_keras_serializable(package="keras_distill")
class InstanceSoftTargets(TeacherTerm):
    """Divergence of a detector's class logits from a teacher's, instance by instance.

    The soft labels of `GlobalKnowledge` without its weights, as a term that `PAD` can
    wrap: each anchor or box is a sample, and the student's logits tell how uncertain it
    is. `robust_distillation.soft_label_loss`: temperature squared times a mean over
    classes. The mean is that over the instances of an image, and images count alike.

    Args:
        logit_dim: Integer >= 1, the width of the logits: the classes, and of a
            two-stage detector the background.
        weight: Float >= 0.
        soft_labels: Where logits come from, see `GlobalKnowledge`: a path, a pair of
            paths, or `"classify"`.
        temperature: Float > 0.
        student_layer: Path of the layer that gives the pyramid, for `"classify"`.
        teacher_layer: The same for the teacher.
        name: Defaults to `"instance_soft_targets"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_divergence`.

    Raises:
        ValueError: If an argument is out of its range or fits no other; if a model has
            not what is asked of it.
    """

    term_names = ("divergence",)
    needs_embedding = False

    def __init__(
        self,
        logit_dim,
        weight=1.0,
        soft_labels="cls_logits",
        temperature=2.0,
        student_layer=None,
        teacher_layer=None,
        name="instance_soft_targets",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)
        ranges.count(1, logit_dim=logit_dim)
        self.add_coefficient("temperature", temperature, ranges.positive)
        self.logit_dim = int(logit_dim)
        self.logits = InstanceLogits(
            soft_labels, "boxes", (student_layer, teacher_layer)
        )

    @property
    def student_layers(self):
        return self.logits.paths(0)

    @property
    def teacher_layers(self):
        return self.logits.paths(1)

    def take_student(self, student):
        self.logits.take("student", student, self.name)

    def take_teacher(self, teacher, student):
        self.logits.take("teacher", teacher, self.name)

    def widths(self, shapes):
        return self.logit_dim, 1

    def rows(self, views):
        logits = self.logits.read(views, *find_instances(views, "boxes"))
        if logits.student.shape[-1] != self.logit_dim:
            raise ValueError(
                "Logits must be as wide as `logit_dim` says. Received: "
                f"logits.shape={tuple(logits.student.shape)}, "
                f"logit_dim={self.logit_dim}"
            )
        return {
            "student": logits.student,
            "teacher": logits.teacher,
            "mask": logits.matches >= 0,
        }

    def distance(self, teacher, student):
        weights = ops.ones_like(student[..., 0])
        return soft_label_loss(student, teacher, weights, self.temperature)

    def compare(self, rows):
        distance = self.distance(rows["teacher"], rows["student"])
        return Comparison(distance, rows["student"], rows["mask"])

    def get_config(self):
        return {
            **super().get_config(),
            "logit_dim": self.logit_dim,
            "soft_labels": self.logits.source,
        }
