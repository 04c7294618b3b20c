"""Refusals of tensors that cannot be compared, said the same way by every term."""


def of_shapes(teacher, student):
    """Raises ValueError unless both have one shape; unknown sizes may be any.

    Numbers that are compared one by one would otherwise broadcast: a row against
    every cell of a map.
    """
    sizes = zip(teacher.shape, student.shape, strict=False)
    agree = all(None in pair or pair[0] == pair[1] for pair in sizes)
    if len(teacher.shape) != len(student.shape) or not agree:
        raise ValueError(
            "Teacher and student must have one shape to be compared number by number. "
            f"{_received(teacher, student)}"
        )


def of_rows(teacher, student):
    """Raises ValueError unless both are `(batch, dim)` of one batch."""
    if len(teacher.shape) != 2 or len(student.shape) != 2:
        raise ValueError(
            "Teacher and student must have shape (batch, dim): name layers that give "
            f"rows. {_received(teacher, student)}"
        )
    of_batches(teacher, student)


def of_batches(teacher, student):
    """Raises ValueError unless both have the same number of rows."""
    if len({teacher.shape[0], student.shape[0]} - {None}) > 1:
        raise ValueError(
            "Teacher and student must be of the same batch. "
            f"{_received(teacher, student)}"
        )


def _received(teacher, student):
    return (
        f"Received: teacher.shape={tuple(teacher.shape)}, "
        f"student.shape={tuple(student.shape)}"
    )
