"""What of an embedder becomes int8: the layers between its pixels and its last step."""

import dataclasses

import keras

from keras_distill.layers import L2Normalization

_SCALING = (keras.layers.Rescaling, keras.layers.Normalization)
_AFTER = (L2Normalization, keras.layers.UnitNormalization)


@dataclasses.dataclass(frozen=True)
class Step:
    """One call of a layer.

    Attributes:
        layer: `keras.Layer`, or `None` for the input.
        inputs: Tuple of names of tensors.
        output: Name of a tensor.
    """

    layer: object
    inputs: tuple
    output: str


def trunk_of(student):
    """Cuts an embedder in three: what scales pixels, the trunk, and what normalises.

    Args:
        student: Functional `keras.Model` that ends with `L2Normalization` or
            `UnitNormalization`. Its last `Rescaling` or `Normalization` before any
            convolution, if it has one, ends the first part.

    Returns:
        `(before, trunk, after)`, `keras.Model`s that share the student's layers and
        follow each other.

    Raises:
        ValueError: If the student has another form.
    """
    steps = graph_of(student)
    last = steps[-1].layer
    if not isinstance(last, _AFTER):
        raise ValueError(
            "The student must end with L2Normalization or UnitNormalization. "
            f"Received: {type(last).__name__}"
        )
    start = student.inputs[0]
    for step in steps[1:]:
        if isinstance(step.layer, _SCALING) and step.layer in student.layers:
            start = step.layer.output
        elif any(len(w.shape) > 1 for w in getattr(step.layer, "weights", ())):
            break
    return (
        keras.Model(student.inputs[0], start),
        keras.Model(start, last.input),
        keras.Model(last.input, last.output),
    )


def graph_of(model):
    """The layers of a functional model in the order they run, inner models unfolded.

    Args:
        model: `keras.Model` of one input and one output, whose layers take tensors
            and give one.

    Returns:
        List of `Step`; the first is the input, the last gives the output.

    Raises:
        ValueError: If the model is not functional, or has other inputs or outputs.
    """
    steps = [Step(None, (), "")]
    _unfold(model, "", steps)
    return steps


def _unfold(model, given, steps):
    """Appends the steps of `model` on the tensor `given`; returns its output."""
    if isinstance(model, keras.Sequential):
        for layer in model.layers:
            output = f"{given}/{layer.name}"
            if hasattr(layer, "layers"):
                output = _unfold(layer, given, steps)
            else:
                steps.append(Step(layer, (given,), output))
            given = output
        return given
    if (
        not hasattr(model, "operations")
        or len(model.inputs) != 1
        or len(model.outputs) != 1
    ):
        raise ValueError(
            "The network must be a functional keras.Model of one input and one output. "
            f"Received: {model!r}"
        )
    config = model.get_config()
    operations = {operation.name: operation for operation in model.operations}
    tensors, waiting = {}, []
    for entry in config["layers"]:
        layer, nodes = operations[entry["name"]], entry["inbound_nodes"]
        if hasattr(layer, "layers") and len(nodes) > 1:
            raise ValueError(
                "A network inside the network may be called once. "
                f"Received: {layer.name!r} with {len(nodes)} calls"
            )
        if isinstance(layer, keras.layers.InputLayer):
            tensors[entry["name"], 0] = given
        waiting += [(layer, number, node) for number, node in enumerate(nodes)]
    while waiting:  # for a layer that is called twice may come before its second input
        layer, number, node = waiting.pop(0)
        inputs = [_tensor(tensors, *history) for history in _histories(node)]
        if None in inputs:
            waiting.append((layer, number, node))
        elif hasattr(layer, "layers"):
            # Its calls are numbered from 0 or from 1: it has but one.
            tensors[layer.name, None] = _unfold(layer, inputs[0], steps)
        else:
            output = f"{given}/{layer.name}:{number}"
            tensors[layer.name, number] = output
            steps.append(Step(layer, tuple(inputs), output))
    (history,) = _listed(config["output_layers"])
    return _tensor(tensors, *history)


def _tensor(tensors, name, number, _):
    """The tensor that a call gives, or `None` where it is still to come."""
    return tensors.get((name, None), tensors.get((name, number)))


def _histories(node):
    """`(layer, node, tensor)` of every tensor in the arguments of a call, in order."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"]
            return
        node = list(node.values())
    if isinstance(node, list | tuple):
        for item in node:
            yield from _histories(item)


def _listed(layers):
    """Output layers as a list, whether the one is in a list or not."""
    return [layers] if isinstance(layers[0], str) else layers
