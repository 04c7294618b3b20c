"""Read inner layers of a functional model in the same forward pass."""

import keras
import numpy as np

OUTPUT = "output"


def tap(model, paths):
    """A model that shares every layer of `model` and also returns inner outputs.

    Args:
        model: A functional or sequential `keras.Model`.
        paths: Iterable of strings. `"features"` is a layer of `model`,
            `"backbone/conv5_block3_out"` a layer of the model that is nested in it
            under the name `backbone`, to any depth. A layer that is called more than
            once gives its last output.

    Returns:
        A `keras.Model` with the inputs of `model` and a dictionary of outputs:
        `"output"`, with the structure of the output of `model`, and under each path
        what that layer puts out: a tensor, or a structure of them, as the dictionary
        of maps of a feature pyramid. Weights and layers are those of `model`, so that
        training one trains the other, and one call runs each layer once.

    Raises:
        ValueError: If `model` has no graph of layers to read (a subclassed model);
            or if a path leads nowhere: the paths that exist are listed.
    """
    paths = list(dict.fromkeys(paths))
    if not is_tappable(model):
        raise ValueError(
            "Only layers of functional and sequential models can be read by name, "
            "not those of a subclassed model. "
            f"Received: model={model.name!r} of type {type(model).__name__}, "
            f"layers={paths}"
        )
    known = layer_paths(model)
    for path in paths:
        if path not in known:
            raise ValueError(
                f"Model {model.name!r} has no layer {path!r}. "
                f"Its layers: {', '.join(known)}. Received: layer={path!r}"
            )
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
        model.inputs[0] if isinstance(model, keras.Sequential) else model.input,
    )
    output, taps = _run(model, inputs, paths)
    return keras.Model(inputs, {OUTPUT: output, **taps}, name=f"{model.name}_tapped")


def is_tappable(model):
    """Whether `tap` can read `model`: it is a graph of layers, run as one."""
    if isinstance(model, keras.Sequential):
        return model.built
    # Keras has no public name for the class of functional models: ask one for it.
    only = keras.Input((1,))
    functional = type(keras.Model(only, only))
    return isinstance(model, functional) and type(model).call is functional.call


def layer_shape(model, path=None):
    """Shape of the output of a layer of `model`, or of `model` itself.

    Args:
        model: A `keras.Model`.
        path: As for `tap`; `None` for the output of the model.

    Returns:
        Tuple with the batch axis, `(None, dim)`, or the structure of such tuples that
        the layer puts out; `None` for the output of a subclassed model, which does
        not know it.

    Raises:
        ValueError: As `tap`; or if the model has several outputs and no path says
            which is meant.
    """
    if path is not None:
        return shapes_of(tap(model, [path]).output[path])
    try:
        shape = model.output_shape
    except AttributeError:
        return None
    if not isinstance(shape, tuple) or any(isinstance(n, tuple) for n in shape):
        raise ValueError(
            f"Model {model.name!r} has several outputs: name the layer that is meant. "
            f"Received: output_shape={shape}"
        )
    return shape


def measured_shape(model, path):
    """`layer_shape` of an inner layer, by what it makes of one image without anything.

    Args:
        model: As for `tap`.
        path: There.

    Returns:
        As `layer_shape`, without the batch axis being open: it is 1. What `layer_shape`
        says if the inputs of `model` have sides that may be any.
    """
    inputs = keras.tree.map_structure(lambda x: tuple(x.shape[1:]), model.input)
    if None in keras.tree.flatten(inputs):
        return layer_shape(model, path)
    nothing = keras.tree.map_structure(
        lambda x: np.zeros((1, *x.shape[1:]), x.dtype), model.input
    )
    return shapes_of(tap(model, [path])(nothing, training=False)[path])


def shapes_of(outputs):
    """The shape of a tensor, or of each in a structure, as tuples."""
    return keras.tree.map_structure(lambda x: tuple(x.shape), outputs)


def layer_paths(model, prefix=""):
    """Paths of all layers of `model`, those of nested models behind their name."""
    paths = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        paths.append(prefix + layer.name)
        if isinstance(layer, keras.Model) and is_tappable(layer):
            paths += layer_paths(layer, f"{prefix}{layer.name}/")
    return paths


def _run(model, inputs, paths):
    """Calls the layers of `model` on new symbolic inputs, keeping what is asked."""
    taps = {}

    def call(layer, *args, **kwargs):
        prefix = f"{layer.name}/"
        inner = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
        if inner:
            # Its own graph ends at its output: run it as a tapped model instead.
            found = tap(layer, inner)(*args, **kwargs)
            output = found.pop(OUTPUT)
            taps.update({prefix + path: value for path, value in found.items()})
        else:
            output = layer(*args, **kwargs)
        if layer.name in paths:
            taps[layer.name] = output
        return output

    if isinstance(model, keras.Sequential):
        x = inputs
        for layer in model.layers:
            x = call(layer, x)
        return x, taps
    clone = keras.models.clone_model(
        model,
        input_tensors=inputs,
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return clone.output, taps
