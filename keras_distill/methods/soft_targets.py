"""Have the teacher's softened class probabilities."""

import numbers

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.methods import agreement
from keras_distill.methods.teacher_term import TeacherTerm, row_means
from keras_distill.models.tap import is_tappable, layer_paths, layer_shape


def soft_targets(teacher, student, temperature=4.0):
    """KL(teacher || student) of class probabilities, softened.

        p = softmax(teacher / T),  q = softmax(student / T)
        distance[i] = T^2 * sum_c p[i, c] * (log p[i, c] - log q[i, c])

    Computed from log-softmaxes: logits of any finite size give finite numbers. Of one
    class there is nothing to learn: 0.

    Args:
        teacher: Tensor `(batch, ..., classes)` of LOGITS; gets no gradient.
        student: Tensor of the same shape, logits.
        temperature: Positive float or scalar variable that divides the logits. `T^2`
            undoes the `1 / T^2` that softening puts on the gradient.

    Returns:
        Float32 tensor `(batch,)`, in nats times `T^2`, >= 0 up to rounding. Over axes
        between (the cells of a map) the mean is taken.

    Raises:
        ValueError: If the shapes differ, or `temperature` is not positive and finite.
    """
    if isinstance(temperature, numbers.Real):
        ranges.positive(temperature=temperature)
    teacher, student = ops.cast(teacher, "float32"), ops.cast(student, "float32")
    agreement.of_shapes(teacher, student)
    log_p = ops.log_softmax(ops.stop_gradient(teacher) / temperature)
    log_q = ops.log_softmax(student / temperature)
    divergences = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
    return temperature**2 * row_means(divergences)


@keras.saving.register_keras_serializable(package="keras_distill")
class SoftTargets(TeacherTerm):
    """Knowledge distillation on logits at a temperature.

    `soft_targets` between a teacher's logits and the student's: Hinton, Vinyals, Dean,
    "Distilling the Knowledge in a Neural Network", NIPS 2014 workshop,
    https://arxiv.org/abs/1503.02531, section 2. The paper minimises the cross entropy
    with the soft targets, whose gradient is that of the divergence.

    Both models must end in logits: the outputs of a last layer with
    `activation="softmax"` are probabilities, and softened twice they teach little.
    Where the graph of a model shows such a layer, it is refused.
    (Keras 3.15's own `LogitsDistillation` is no substitute as it stands: by default it
    applies its divergence to the logits, without a softmax.)

    Classes correspond one to one, so that a projection would make no sense: teacher and
    student of different widths are refused.

    Args:
        weight: Float >= 0.
        temperature: Float > 0; the softer, the more the unlikely classes count.
        student_layer: Path of the layer that gives the student's logits; `None` for
            its output (of several outputs, the layer `embedding`).
        teacher_layer: The same for the teacher.
        name: Defaults to `"soft_targets"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_divergence`, nats times temperature squared.

    Raises:
        ValueError: If `weight` or `temperature` is out of its range; if teacher and
            student are not of one width; if one of them visibly ends in a softmax.
    """

    term_names = ("divergence",)

    def __init__(
        self,
        weight=1.0,
        temperature=4.0,
        student_layer=None,
        teacher_layer=None,
        name="soft_targets",
        **kwargs,
    ):
        super().__init__(weight, student_layer, teacher_layer, name=name, **kwargs)
        self.add_coefficient("temperature", temperature, ranges.positive)

    def take_student(self, student):
        self._refuse_probabilities("student", student, self._compared(student))

    def take_teacher(self, teacher, student):
        given = layer_shape(teacher, self.teacher_layer)
        self._refuse_probabilities("teacher", teacher, self.teacher_layer)
        own = layer_shape(student, self._compared(student))
        if None not in (given, own) and given[-1] != own[-1]:
            raise ValueError(
                f"{self.name!r} compares logits of the same classes. Received: "
                f"teacher={teacher.name!r} with {given[-1]}, student={student.name!r} "
                f"with {own[-1]}"
            )

    def _compared(self, student):
        several = len(getattr(student, "outputs", None) or ()) > 1
        return self.student_layer or ("embedding" if several else None)

    def _refuse_probabilities(self, side, model, path):
        layer = _last_layer(model, path)
        if _is_softmax(layer):
            raise ValueError(
                f"{self.name!r} softens logits, and the {side} gives probabilities: "
                "make its last layer with activation=None (models of "
                "keras.applications with classifier_activation=None), or name the "
                f"layer of the logits in `{side}_layer`. "
                f"Received: {side}={model.name!r}, whose layer {layer.name!r} ends in "
                "a softmax"
            )

    def distance(self, teacher, student):
        return soft_targets(teacher, student, self.temperature)


def _is_softmax(layer):
    activation = getattr(layer, "activation", None)
    softmax = activation is keras.activations.softmax
    return softmax or isinstance(layer, keras.layers.Softmax)


def _last_layer(model, path=None):
    """The layer that makes an output of a model, in nested ones too.

    Args:
        model: A layer; of one that is no graph of layers it is the last itself.
        path: As for `tap`; `None` for the output of the model.

    Returns:
        A layer or an operation; `None` where there is none of this path, or the model
        has several outputs.
    """
    if not (isinstance(model, keras.Model) and is_tappable(model)):
        return model if path is None else None
    if path is not None:
        if path not in layer_paths(model):
            return None
        name, _, rest = path.partition("/")
        return _last_layer(model.get_layer(name), rest or None)
    if isinstance(model, keras.Sequential):
        return _last_layer(model.layers[-1])
    # A public `layer.output` says nothing of nested models: theirs is the inner one.
    history = getattr(model.output, "_keras_history", None)
    return None if history is None else _last_layer(history.operation)
