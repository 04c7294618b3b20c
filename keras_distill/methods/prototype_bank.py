"""The prototypes of every class, in weights of a fixed size."""

import keras
import numpy as np
from keras import ops

from keras_distill.methods.kept_state import add_state
from keras_distill.methods.prototypes import select_prototypes


class PrototypeBank(keras.layers.Layer):
    """Keeps up to `count` prototypes of each class and level, in both spaces.

    Nothing is trained here: a callback has them chosen, the step reads them.

    Args:
        num_classes: Integer >= 1.
        count: Integer >= 1, prototypes a class and level.
        dims: Dictionary from level to the widths `(student, teacher)`.

    Attributes:
        classes: Integers `(num_classes * count,)`, the class of each place.
    """

    def __init__(self, num_classes, count, dims):
        super().__init__(dtype="float32", name="prototypes")
        self.num_classes, self.count = num_classes, count
        self.classes = np.repeat(np.arange(num_classes), count)
        places = num_classes * count
        self._levels = {
            level: (
                add_state(self, f"{level}_student", (places, widths[0])),
                add_state(self, f"{level}_teacher", (places, widths[1])),
                add_state(self, f"{level}_there", (places,)),
            )
            for level, widths in dims.items()
        }
        self.built = True

    def read(self, level):
        """`(student (P, Cs), teacher (P, Ct), there (P,) bool)` of a level."""
        student, teacher, there = self._levels[level]
        return (
            ops.convert_to_tensor(student),
            ops.convert_to_tensor(teacher),
            ops.convert_to_tensor(there) > 0,
        )

    def write(self, level, chosen):
        """Replaces the prototypes of a level.

        Args:
            level: String.
            chosen: From class to a pair of arrays `(n, Cs)` and `(n, Ct)`, n at most
                `count`. Classes that are not in it have no prototypes.
        """
        variables = self._levels[level]
        arrays = [np.zeros(variable.shape, "float32") for variable in variables]
        for label, (student, teacher) in chosen.items():
            places = slice(label * self.count, label * self.count + len(student))
            arrays[0][places], arrays[1][places] = student, teacher
            arrays[2][places] = 1.0
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def choose(self, student, teacher, labels, coupling, bandwidth, quantile):
        """Chooses the prototypes of every class and level among instances.

        Args:
            student: From level to `(N, Cs)`, features of the same N instances.
            teacher: From level to `(N, Ct)`.
            labels: Integers `(N,)`. A class that does not occur has no prototypes.
            coupling: Float >= 0. This and the next two: see `select_prototypes`.
            bandwidth: Float > 0.
            quantile: Float in [0, 1), or `None`.

        Raises:
            ValueError: If there are no instances at all, a label is no class, or a
                feature is not finite.
        """
        labels = np.asarray(labels)
        strange = labels[(labels < 0) | (labels >= self.num_classes)]
        if len(strange) or not len(labels):
            raise ValueError(
                "Prototypes are chosen among instances with labels in "
                f"0..{self.num_classes - 1}. Received: "
                + (f"label {strange[0]}" if len(strange) else "no instance")
            )
        members = {int(c): np.flatnonzero(labels == c) for c in np.unique(labels)}
        for level in self._levels:
            chosen = {}
            for label, rows in members.items():
                pair = (
                    np.asarray(student[level])[rows],
                    np.asarray(teacher[level])[rows],
                )
                picked = select_prototypes(
                    *pair, self.count, coupling, bandwidth, quantile
                )
                chosen[label] = tuple(side[picked] for side in pair)
            self.write(level, chosen)
