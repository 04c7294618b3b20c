"""What of a batch is whose: images for the student, labels for the loss."""

import keras


def student_images(inputs, student):
    """The part of a batch's inputs that the student takes.

    Args:
        inputs: Images, or a dictionary of fields.
        student: A `keras.Model`.

    Returns:
        `inputs` itself, or of a dictionary the fields that are the student's own
        inputs, else the field `"image"`.

    Raises:
        ValueError: If a dictionary holds neither.
    """
    if not isinstance(inputs, dict):
        return inputs
    wanted = getattr(student, "input", None)
    if isinstance(wanted, dict):
        return {name: inputs[name] for name in wanted}
    if "image" not in inputs:
        raise ValueError(
            "A dictionary of inputs must hold the student's images under 'image'. "
            f"Received: keys={sorted(inputs)}"
        )
    return inputs["image"]


def labels(targets, y_pred):
    """The part of a batch's targets that the loss of `compile` takes.

    Args:
        targets: What the data set yields beside the inputs.
        y_pred: The student's output.

    Returns:
        `targets` itself, or of a dictionary the field `"label"`. Where the student has
        a dictionary of outputs, the fields that are named as these, if there are any.

    Raises:
        ValueError: If a dictionary lacks `"label"`.
    """
    if not isinstance(targets, dict):
        return targets
    if isinstance(y_pred, dict):
        # More may ride along: boxes, for methods that look for instances.
        return {name: targets[name] for name in y_pred if name in targets} or targets
    if "label" not in targets:
        raise ValueError(
            "A dictionary of targets must hold what the loss takes under 'label'. "
            f"Received: keys={sorted(targets)}"
        )
    return targets["label"]


def embedding_weights(sample_weight, student):
    """Of the sample weights of several outputs, those of the embedding.

    Args:
        sample_weight: `(batch,)`, `None`, or one of these for each output.
        student: A `keras.Model`; of several outputs, the layer `embedding` is meant.
    """
    weights = keras.tree.flatten(sample_weight)
    if len(weights) < 2:
        return weights[0] if weights else None
    layers = [output._keras_history.operation for output in student.outputs]
    return weights[[layer.name for layer in layers].index("embedding")]
