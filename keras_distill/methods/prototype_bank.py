"""The prototypes of every class, in weights of a fixed size."""

import keras
import numpy as np
from keras import ops


class PrototypeBank(keras.layers.Layer):
    """Keeps up to `count` prototypes of each class and level, in both spaces.

    Nothing is trained here; a callback writes, the step reads, both are saved.

    Args:
        num_classes: Integer >= 1.
        count: Integer >= 1, prototypes a class and level.
        dims: Dictionary from level to the widths `(student, teacher)`.

    Attributes:
        classes: Integers `(num_classes * count,)`, the class of each place.
    """

    def __init__(self, num_classes, count, dims):
        super().__init__(dtype="float32", name="prototypes")
        self.count = count
        self.classes = np.repeat(np.arange(num_classes), count)
        places = num_classes * count
        self._levels = {
            level: (
                self._state(f"{level}_student", (places, widths[0])),
                self._state(f"{level}_teacher", (places, widths[1])),
                self._state(f"{level}_there", (places,)),
            )
            for level, widths in dims.items()
        }
        self.built = True

    def _state(self, name, shape):
        return self.add_weight(
            name=name,
            shape=shape,
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

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
