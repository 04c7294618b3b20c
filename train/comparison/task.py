"""What a student is for: everything that a comparison asks of that."""

import abc


class Task(abc.ABC):
    """Base of the tasks of a comparison.

    Attributes:
        measures: Dictionary from the figures of a run to their `Measure`. The first
            is the figure of merit, of which more is better: tuning chooses by it.
        units: What a table says its numbers are in.
        student_fields: The fields of a recipe that say what a student is.
        apart: What is kept from training, `"classes"` or `"images"`.
        measured: The part that is measured on, as `training` is the other.
        measured_by: The field of a recipe that says which part that is.
        validated_by: The field of `tuning` that says which part of the training takes
            its place.
        trained_by: The field of a recipe that says which of the rest are trained on;
            empty where all are.
        optional: Fields that a recipe may leave out.
    """

    measures = {}
    units = "Per cent"
    student_fields = ("backbone",)
    apart = "classes"
    measured = "evaluation"
    measured_by = ""
    validated_by = ""
    trained_by = ""
    optional = ()

    @property
    def merit(self):
        """The name of the figure of merit."""
        return next(iter(self.measures))

    @abc.abstractmethod
    def load(self, path, image_size, **parts):
        """The images to train on and those to measure on.

        Args:
            path: What the recipe calls its data.
            image_size: Pixels.
            **parts: Values of `measured_by`, of `validated_by` and, where the task has
                one, of `trained_by`. Of the second, `None` is to measure on what was
                put aside for it; else a part of the training takes its place, which
                is let go at once.

        Returns:
            `(training, measured)`, both `ImageSet`.
        """

    @abc.abstractmethod
    def said(self, part):
        """A value of one of these fields, in words; of `None` nothing."""

    @abc.abstractmethod
    def described(self, student):
        """A student's specification in words."""

    @abc.abstractmethod
    def model(self, image_shape, classes, student):
        """A student: a `keras.Model` with a layer `features`.

        Args:
            image_shape: `(height, width, channels)`.
            classes: Number of training classes.
            student: Dictionary of the `student_fields`.
        """

    @abc.abstractmethod
    def width(self, classes, student):
        """How many numbers a student gives for an image."""

    @abc.abstractmethod
    def resolved_loss(self, name, options):
        """The specification of a loss, `{"class": name, **arguments}`, completed.

        Raises:
            ValueError: If the task has no such loss, or the loss no such option.
        """

    @abc.abstractmethod
    def make_loss(self, spec, classes):
        """The loss of a specification, for a training set of so many classes."""

    @abc.abstractmethod
    def figures(self, said, labels):
        """What is measured.

        Args:
            said: float32 `(N, D)`, the student's outputs for the measured images.
            labels: Integers `(N,)`.

        Returns:
            Dictionary of floats, with all of `measures`.
        """
