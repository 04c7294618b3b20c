"""A trained model, to go on training without moving what it normalises by."""

import keras

from keras_distill.layers import FrozenBatchNormalization
from keras_distill.models.detector import Detector
from keras_distill.models.tap import is_tappable
from keras_distill.models.twin import copy_weights


def frozen_statistics(model):
    """A copy of a model in which batch normalisation keeps its averages in training.

    Every `keras.layers.BatchNormalization`, in nested models too, becomes a
    `layers.FrozenBatchNormalization` with the same weights. Scale and offset still
    train.

    Args:
        model: A functional or built sequential `keras.Model`, or a detector of
            `keras_distill.models`.

    Returns:
        An uncompiled model of the same outputs, of its own weights; of a detector, one
        of its class.

    Raises:
        ValueError: If the model is subclassed, or sequential and not built; if it has
            no batch normalisation, or has some that lies within a layer which is no
            functional or sequential model.

    Example:

    ```python
    student = keras_distill.models.embedder(
        "MobileNetV2", (96, 96, 3), dim=128, weights="imagenet"
    )
    student = keras_distill.models.frozen_statistics(student)
    ```
    """
    if isinstance(model, Detector):
        pyramid = keras.saving.serialize_keras_object(frozen_statistics(model.pyramid))
        copy = type(model).from_config({**model.get_config(), "pyramid": pyramid})
    elif is_tappable(model):
        copy = keras.models.clone_model(model, clone_function=_frozen, recursive=True)
    else:
        raise ValueError(
            "Batch normalisation is found in functional models and in sequential ones "
            "that are built, and not within subclassed ones. "
            f"Received: model={model.name!r} of type {type(model).__name__}"
        )
    _refuse_moving(model, copy)
    copy_weights(model, copy)
    return copy


def _frozen(layer):
    made, config = type(layer), layer.get_config()
    if made is keras.layers.BatchNormalization:
        made = FrozenBatchNormalization
    return made.from_config(config)


def _refuse_moving(model, copy):
    """Raises ValueError unless there is batch normalisation, and all of it frozen."""
    # Keras has no public way to all layers, those within layers included.
    found = [
        layer
        for layer in copy._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    moving = [
        one.name for one in found if not isinstance(one, FrozenBatchNormalization)
    ]
    if moving:
        raise ValueError(
            "Batch normalisation must be a layer of a functional or sequential model, "
            f"not within another layer. Received: model={model.name!r} with {moving}"
        )
    if not found:
        raise ValueError(
            "There must be batch normalisation whose averages can stay. "
            f"Received: model={model.name!r}, which has none"
        )
