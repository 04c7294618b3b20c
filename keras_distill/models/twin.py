"""A copy of a student, to be what the student was."""

import keras

from keras_distill.models.tap import is_tappable


def twin_of(student):
    """A model of the student's architecture with weights of its own, of equal values.

    Raises:
        ValueError: If the student's configuration does not make it again.
    """
    try:
        if is_tappable(student):
            twin = keras.models.clone_model(student)
        else:
            twin = type(student).from_config(student.get_config())
            if not twin.built:
                twin.build_from_config(student.get_build_config())
    except Exception as error:
        raise _not_copied(student, str(error)) from error
    wanted, made = ([tuple(v.shape) for v in net.weights] for net in (student, twin))
    if wanted != made:
        reason = f"its weights have shapes {wanted}, those of the copy {made}"
        raise _not_copied(student, reason)
    copy_weights(student, twin)
    return twin


def copy_weights(student, twin):
    """Gives the twin the student's weights, and what layers compute from theirs."""
    twin.set_weights(student.get_weights())
    # An adapted Normalization calculates with constants that it made of its weights.
    # Keras has no public way to all layers, those within layers included. (Those that
    # have no weights, as Discretization, would be emptied.)
    for layer in twin._flatten_layers():
        if layer.weights and hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _not_copied(student, reason):
    return ValueError(
        "The student must be one that its configuration can copy: functional or "
        "sequential, or with `get_config` and `get_build_config` that say how it is "
        f"made. Received: student={student.name!r} of type "
        f"{type(student).__name__} ({reason})"
    )
