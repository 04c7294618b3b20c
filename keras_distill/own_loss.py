"""Students that compute their loss themselves, as detectors do."""

import keras
from keras import ops


def has_own_loss(student):
    """Whether the student's class says how its loss is computed."""
    return type(student).compute_loss is not keras.Model.compute_loss


def refuse_replicas(strategy, student):
    """Raises ValueError if such a student is to train on several replicas.

    Whether what it returns is divided by the number of replicas already, as what
    Keras's losses return is, cannot be seen.

    Args:
        strategy: The `tf.distribute.Strategy` of the model.
        student: A `keras.Model`.
    """
    if has_own_loss(student) and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            "A student that computes its loss itself trains on one replica: how its "
            "loss is shared among several is not known. "
            f"Received: student={student.name!r} of type {type(student).__name__}, "
            f"{strategy.num_replicas_in_sync} replicas"
        )


def base_and_added(student, images, targets, outputs, sample_weight, training):
    """What a student computes as its loss, and what its layers add to that.

    Args:
        student: A `keras.Model`, see `has_own_loss`.
        images: What it was given in this step.
        targets: All that the data set yields beside the images.
        outputs: What it put out.
        sample_weight: As for `keras.Model.compute_loss`.
        training: Boolean.

    Returns:
        Two float32 scalars: the loss without regularisers and other losses of layers,
        and these.
    """
    loss = student.compute_loss(
        x=images,
        y=targets,
        y_pred=outputs,
        sample_weight=sample_weight,
        training=training,
    )
    added = added_by_layers([student])
    return ops.cast(loss, "float32") - added, added


def added_by_layers(owners):
    """The sum of the losses that layers have added on their way, in float32."""
    return sum(ops.cast(term, "float32") for owner in owners for term in owner.losses)
