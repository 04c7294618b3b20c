"""The teacher that methods learn from, and what it says of a batch."""

from keras import ops

from keras_distill.models.shared_weights import share_weights
from keras_distill.models.teacher_view import TeacherView


def take_teacher(teacher, student, methods):
    """Makes a teacher known to the methods.

    Args:
        teacher: A `keras.Model`, see `Distiller`.
        student: The `keras.Model` that is trained.
        methods: List of `Method`.

    Returns:
        `TeacherView` of the layers that the methods read.

    Raises:
        ValueError: If no method learns from a teacher, if a method cannot use this
            one, or if it shares weights with the student.
    """
    if not any(method.needs_teacher for method in methods):
        raise ValueError(
            "No method here learns from a teacher: leave `teacher` out, or add one "
            "that does, such as methods.RelationalKL(). "
            f"Received: teacher={teacher.name!r}, "
            f"methods={[method.name for method in methods]}"
        )
    if share_weights(student, teacher):
        raise ValueError(
            "The teacher is frozen, so it must not share weights with the student: "
            "teach from a clone. "
            f"Received: teacher={teacher.name!r}, student={student.name!r}"
        )
    for method in methods:
        method.take_teacher(teacher, student)
    paths = (path for method in methods for path in method.teacher_layers)
    return TeacherView(teacher, list(dict.fromkeys(paths)))


def ask(view, methods, inputs, images):
    """What the teacher says of a batch.

    Args:
        view: `TeacherView`, or `None` where there is no teacher.
        methods: List of `Method`.
        inputs: Of the batch. If it is a dictionary, `"teacher_embedding"` in it is
            taken for what the teacher puts out, and `"teacher_image"` is shown to the
            teacher in place of `images`.
        images: What the student was given.

    Returns:
        The teacher's output, and a dictionary from each path that methods read to that
        layer's output, without gradient; `(None, {})` where no method learns from it.

    Raises:
        ValueError: If the embedding is given and a method reads inner layers; if there
            is neither teacher nor embedding.
    """
    if not any(method.needs_teacher for method in methods):
        return None, {}
    given = inputs if isinstance(inputs, dict) else {}
    if "teacher_embedding" in given:
        for method in methods:
            if method.teacher_layers:
                raise ValueError(
                    "'teacher_embedding' holds what the teacher puts out, and "
                    f"{method.name!r} reads its inner layers: leave it out of the "
                    "inputs, and the teacher is called in every step. "
                    f"Received: teacher_layers={list(method.teacher_layers)}"
                )
        return ops.stop_gradient(given["teacher_embedding"]), {}
    if view is None:
        raise ValueError(
            "The methods learn from a teacher and there is none; a loaded "
            "distiller does not bring it. Call `distiller.set_teacher(...)` or put "
            "'teacher_embedding' into the inputs. Received: teacher=None"
        )
    return view(given.get("teacher_image", images))
