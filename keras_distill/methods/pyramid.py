"""Feature pyramids of two models, level by level."""

import math
import re

import keras

from keras_distill import ranges


def checked_strides(strides):
    """`strides` as floats by level, or `None`.

    Raises:
        ValueError: If it is not a dictionary of positive numbers.
    """
    if strides is None:
        return None
    found = {str(level): float(stride) for level, stride in dict(strides).items()}
    if not found or not all(0 < stride < math.inf for stride in found.values()):
        raise ValueError(
            "`strides` must hold a positive number of pixels for each level. "
            f"Received: strides={strides}"
        )
    return found


def level_strides(shapes, layer, strides=None):
    """The levels of a pyramid, from the finest to the coarsest, with their strides.

    Args:
        shapes: From the name of each level to its shape `(batch, h, w, channels)`.
        layer: Path of the layer that gives them, for errors.
        strides: From level to pixels a cell: levels that it leaves out are left out.
            `None` for all levels, which then are called `"P3"`, `"P4"` and have the
            strides 2^3, 2^4, as the literature names them.

    Returns:
        Dictionary from level to stride.

    Raises:
        ValueError: If these are no levels, some are missing, or a stride is unknown.
    """
    if not isinstance(shapes, dict) or any(len(s) != 4 for s in shapes.values()):
        raise ValueError(
            "A pyramid is a layer that gives a dictionary of maps (batch, h, w, "
            "channels), such as {'P3': ..., 'P4': ...}. "
            f"Received: layer={layer!r}, which gives {shapes}"
        )
    if strides is None:
        strides = {level: _named_stride(level, shapes) for level in shapes}
    if set(strides) - set(shapes):
        raise ValueError(
            "Every level in `strides` must be one that the layer gives. Received: "
            f"strides={strides}, layer={layer!r}, whose levels are {sorted(shapes)}"
        )
    return dict(sorted(strides.items(), key=lambda item: item[1]))


def refuse_other_levels(student, teacher, levels):
    """Raises ValueError unless the teacher has these levels, with the student's cells.

    Args:
        student: From level to shape `(batch, h, w, channels)`, of the student.
        teacher: The same of the teacher; or what its layer gives instead.
        levels: Names of the levels that are compared.
    """
    there = sorted(teacher) if isinstance(teacher, dict) else teacher
    if not isinstance(teacher, dict) or set(levels) - set(teacher):
        raise ValueError(
            "Teacher and student must have the same pyramid levels, or `strides` name "
            "those that both have. Received: student levels "
            f"{sorted(levels)}, teacher levels {there}"
        )
    for level in levels:
        if have_other_cells(student[level], teacher[level]):
            raise ValueError(
                "Teacher and student must see images of one size: a level has the same "
                f"cells in both. Received: level={level!r}, "
                f"student (h, w)={student[level][1:3]}, "
                f"teacher (h, w)={teacher[level][1:3]}"
            )


def have_other_cells(shape, other):
    """Whether maps `(batch, h, w, channels)` are known to be of other sizes."""
    pairs = zip(shape[1:3], other[1:3], strict=True)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def refuse_even(**sizes):
    """Raises ValueError unless each is an odd integer above 0, the side of a kernel."""
    ranges.count(1, **sizes)
    for name, size in sizes.items():
        if size % 2 == 0:
            raise ValueError(
                f"`{name}` must be odd: a kernel lies about its cell. "
                f"Received: {name}={size}"
            )


def adapter(width, channels, size, name):
    """A convolution that brings a student's map to the teacher's width.

    Linear, and of the same grid. (The one-stage configuration that the authors released
    has no padding and a ReLU: its output is two cells smaller than what it is compared
    with.)

    Args:
        width: Integer, channels of the student.
        channels: Integer, of the teacher.
        size: Integer, side of the kernel.
        name: String.
    """
    layer = keras.layers.Conv2D(
        channels, size, padding="same", dtype="float32", name=name
    )
    layer.build((None, None, None, width))
    return layer


def _named_stride(level, shapes):
    found = re.fullmatch(r"P(\d{1,2})", level)
    if not found:
        raise ValueError(
            "Give `strides`, pixels a cell of each level: only of levels named as 'P3' "
            f"are they known (2^3). Received: levels={sorted(shapes)}"
        )
    return float(2 ** int(found[1]))
