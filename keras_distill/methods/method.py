"""What a distillation method tells the Distiller."""

import dataclasses
import typing

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.methods.kept_state import add_state


class Term(typing.NamedTuple):
    """One summand of the training loss: `weight * mean(values)`.

    Attributes:
        values: `(batch,)` float32 where the formula is a mean over rows, so that
            sample weights apply to rows; else a scalar.
        weight: A float or a scalar variable. Logs show the term without it. `None`
            for a figure that is logged and no part of the loss.
    """

    values: typing.Any
    weight: typing.Any = 1.0

    def mean(self, sample_weight=None):
        """The mean of `values`, each row times its sample weight."""
        if sample_weight is None or len(self.values.shape) == 0:
            return ops.mean(self.values)
        sample_weight = ops.cast(ops.reshape(sample_weight, (-1,)), "float32")
        return ops.mean(self.values * sample_weight)


@dataclasses.dataclass(frozen=True)
class Views:
    """What student and teacher make of the images of one replica.

    Attributes:
        embeddings: `(local batch, dim)`, the student's output (of a student with
            several outputs, its layer `embedding`).
        layers: From each path in `Method.student_layers` to that layer's output, of
            the same forward pass: a tensor, or the dictionary of maps of a pyramid.
        teacher: The teacher's output for the same images, without gradient; `None`
            for methods that need no teacher.
        teacher_layers: From each path in `Method.teacher_layers` to its output.
        training: Boolean.
        images: What the student was given in this step.
        targets: What the data set yields beside the images of this replica: labels, or
            a dictionary of fields, such as boxes. `None` where it yields nothing.
    """

    embeddings: typing.Any
    layers: dict
    teacher: typing.Any = None
    teacher_layers: dict = dataclasses.field(default_factory=dict)
    training: bool = False
    images: typing.Any = None
    targets: typing.Any = None


@dataclasses.dataclass(frozen=True)
class Batch:
    """The global batch: the rows of all replicas.

    Attributes:
        labels: What the loss of `compile` takes, `(batch,)` integers as a rule; `None`
            where the data set has none.
        targets: All that the data set yields beside the images: `labels` itself, or
            the dictionary that holds them under `"label"`.
        embeddings: `(batch, dim)`, the student's.
        rows: What `Method.rows` returned, gathered.
        training: Boolean.
    """

    labels: typing.Any
    targets: typing.Any
    embeddings: typing.Any
    rows: dict
    training: bool = False


class Method(keras.layers.Layer):
    """Base of the distillation methods that a `Distiller` trains with.

    A method is a layer: what it owns is trained, saved and resumed with the
    distiller and absent from the student. It says:

    * `student_layers`, `teacher_layers`: the inner layers it reads;
    * `rows(views)`: what it computes image by image, on each replica;
    * `terms(batch)`: its summands of the loss, computed on the global batch;
    * `schedules()`: the callbacks it cannot do without; `fit` adds them.

    Only `terms` and `term_names` have to be written. A number that users may want to
    change while training is made by `add_coefficient`: a saved variable, which a
    callback can assign.

    Attributes:
        term_names: Tuple of strings, the keys that `terms` returns. Logs call each
            `{name of the method}_{key}`.
        base_weight: What the loss of `compile` is multiplied by: `1.0` unless the
            formula of the method shares it out.
        needs_teacher: Whether it learns from `Distiller(teacher=...)`.
        needs_embedding: Whether it reads `embeddings`. A student of several outputs
            then has to have a layer `embedding`; a detector has none.
        feature_layer: Path of the student's feature layer, set by the distiller.
    """

    term_names = ()
    base_weight = 1.0
    needs_teacher = False
    needs_embedding = True
    feature_layer = "features"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._coefficients = {}
        self._checks = {}

    @property
    def student_layers(self):
        """Paths of the student's layers that `rows` finds in `views.layers`."""
        return ()

    @property
    def teacher_layers(self):
        """Paths of the teacher's layers, in `views.teacher_layers`."""
        return ()

    @property
    def criteria(self):
        """Losses that it gives the labels to, beside that of `compile`.

        The distiller refuses labels that one of them has no weights for.
        """
        return ()

    def build(self, shapes):
        """Creates the weights.

        Args:
            shapes: From `"output"` (the embedding) and each of `student_layers` to
                a shape with the batch axis, `(None, dim)`, or a dictionary of these
                where the layer puts out several maps.
        """
        self.built = True

    def build_from_config(self, config):
        """Builds as before saving: JSON knows lists alone, and `build` gets tuples."""
        super().build_from_config(_with_tuples(config))

    def take_criterion(self, criterion):
        """Receives the loss given to `compile`, before the first step.

        Args:
            criterion: A `keras.losses.Loss`, a function, a structure of these, or
                `None`.
        """

    def take_student(self, student):
        """Receives the student, before `build`."""

    def take_teacher(self, teacher, student):
        """Receives both models when a teacher is set; raises if they do not match.

        A teacher given to the distiller comes before `build`, another one may come
        after it.
        """

    def rows(self, views):
        """What this method computes image by image.

        Args:
            views: `Views`.

        Returns:
            Dictionary of tensors with the local batch as first axis.
        """
        return {}

    def terms(self, batch):
        """The summands of the loss.

        Args:
            batch: `Batch`.

        Returns:
            Dictionary from each of `term_names` to a `Term`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `terms`.")

    def schedules(self):
        """New instances of the callbacks that `fit` runs for this method."""
        return []

    def add_coefficient(self, name, value, check=ranges.not_negative):
        """A scalar that callbacks may change: `method.<name>.assign(value)`.

        `get_config` keeps the value given here; what it has become is saved with
        the weights.

        Args:
            name: String, the name of the attribute.
            value: Number.
            check: What raises ValueError when called as `check(name=value)` with a
                number out of range: `ranges.not_negative`, or `ranges.positive` for
                what is divided by. `CoefficientSchedule` asks it as well.
        """
        check(**{name: value})
        start = keras.initializers.Constant(value)
        variable = add_state(self, name, initializer=start)
        setattr(self, name, variable)
        self._coefficients[name] = float(value)
        self._checks[name] = check

    def check_coefficient(self, name, value):
        """Raises ValueError if the coefficient `name` may not become `value`."""
        self._checks[name](**{name: value})

    @property
    def coefficients(self):
        """Names of what `add_coefficient` has made."""
        return tuple(self._coefficients)

    def get_config(self):
        return {**super().get_config(), **self._coefficients}


def _with_tuples(value):
    """A structure whose lists of sizes, those of shapes, are tuples again."""
    if isinstance(value, dict):
        return {name: _with_tuples(part) for name, part in value.items()}
    if isinstance(value, list) and all(isinstance(n, int | None) for n in value):
        return tuple(value)
    return value
