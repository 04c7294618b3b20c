"""A Keras 3 trunk rebuilt layer by layer in tf_keras, for tools that know no other.

tensorflow-model-optimization takes models of tf_keras alone, and neither package reads
what the other saves. So each layer is made anew from the few arguments that decide
what it computes, and its weights are copied.
"""

import keras

from keras_distill.layers import FrozenBatchNormalization
from keras_distill.tflite.trunk_of import graph_of

# What a layer computes, by class: all its other arguments decide how it is trained.
_WINDOW = ("strides", "padding", "data_format")
_CONVOLUTION = ("kernel_size", *_WINDOW, "dilation_rate", "activation", "use_bias")
ARGUMENTS = {
    "Activation": ("activation",),
    "Add": (),
    "AveragePooling2D": ("pool_size", *_WINDOW),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Concatenate": ("axis",),
    "Conv2D": ("filters", "groups", *_CONVOLUTION),
    "Dense": ("units", "activation", "use_bias"),
    "DepthwiseConv2D": ("depth_multiplier", *_CONVOLUTION),
    "Dropout": ("rate",),
    "Flatten": ("data_format",),
    "GlobalAveragePooling2D": ("data_format", "keepdims"),
    "GlobalMaxPooling2D": ("data_format", "keepdims"),
    "MaxPooling2D": ("pool_size", *_WINDOW),
    "Multiply": (),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "Reshape": ("target_shape",),
    "ZeroPadding2D": ("padding", "data_format"),
}


def tf_keras_twin(trunk):
    """The same network in tf_keras, with the same weights.

    Args:
        trunk: Functional `keras.Model` of one input and one output, of the layers in
            `ARGUMENTS`, networks inside it included; such as `trunk_of` gives.
            `Identity` is left out.

    Returns:
        Functional `tf_keras.Model` that gives the same within float32 rounding. Its
        layers have the names of those of `trunk`.

    Raises:
        ValueError: If there is a layer that has no twin.
    """
    import tf_keras

    first, *steps = graph_of(trunk)
    inputs = tf_keras.Input(trunk.input_shape[1:], name="trunk_input")
    tensors, own = {first.output: inputs}, {}
    for step in steps:
        given = [tensors[name] for name in step.inputs]
        given = given[0] if len(given) == 1 else given
        if isinstance(step.layer, keras.layers.Identity):
            tensors[step.output] = given
            continue
        if step.layer.name not in own:
            own[step.layer.name] = _twin_of(step.layer)
        tensors[step.output] = own[step.layer.name](given)
    for step in steps:
        if step.layer.name in own:  # Identity has no twin, and no weights
            own[step.layer.name].set_weights(step.layer.get_weights())
    return tf_keras.Model(inputs, tensors[steps[-1].output])


def _twin_of(layer):
    import tf_keras

    made = type(layer)
    if made is FrozenBatchNormalization:
        made = keras.layers.BatchNormalization  # It differs in training alone.
    kind = made.__name__
    if made is not getattr(keras.layers, kind, None) or kind not in ARGUMENTS:
        raise ValueError(
            "A trunk that tf_keras can stand in for consists of "
            f"{', '.join(ARGUMENTS)} and Identity. Received: {kind} {layer.name!r}"
        )
    config = layer.get_config()
    arguments = {name: config[name] for name in ARGUMENTS[kind] if name in config}
    if kind == "Activation" and config["activation"] == "relu6":
        # tensorflow-model-optimization knows the layer and not the function.
        kind, arguments = "ReLU", {"max_value": 6.0}
    return getattr(tf_keras.layers, kind)(name=layer.name, **arguments)
