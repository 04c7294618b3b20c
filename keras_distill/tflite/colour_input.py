"""Let an embedder of grey images take colour ones, as phones have them.

MediaPipe and the Task Library give every model three channels and refuse one that
takes fewer. The grey value is made inside the graph, as Pillow makes it when the
catalogue is read (ITU-R BT.601): (19595 R + 38470 G + 7471 B) / 65536, rounded. All
of that is exact in float32, so that a grey image embeds as before, bit for bit.
"""

import copy

import numpy as np

from keras_distill.tflite.graph import parse, read_graph, serialize

WEIGHTS, SCALE = (19595, 38470, 7471), 65536


def with_colour_input(model):
    """The same .tflite for colour images; itself if it takes them already.

    Args:
        model: Bytes of a .tflite whose only input is an image, `uint8[1, height,
            width, channels]` with 1 or 3 channels, and is first made float.

    Returns:
        Bytes; its input has the same name and three channels, red, green, blue.

    Raises:
        ValueError: If the model takes something else.
    """
    graph = read_graph(model)
    parsed = parse(model)
    (subgraph,) = parsed.subgraphs
    inputs = [graph.tensors[i] for i in subgraph.inputs]
    shape = inputs[0].shape if len(inputs) == 1 else ()
    if len(shape) == 4 and inputs[0].dtype == "UINT8" and shape[3] == 3:
        return model
    image = int(subgraph.inputs[0]) if len(subgraph.inputs) else -1
    readers = [i for i, op in enumerate(graph.operators) if image in op.inputs]
    if (
        len(shape) != 4
        or inputs[0].dtype != "UINT8"
        or shape[3] != 1
        or [graph.operators[i].name for i in readers] != ["CAST"]
    ):
        raise ValueError(
            "The model must take one image, uint8[1, height, width, 1 or 3], that it "
            "casts to float first. Received: "
            f"inputs {[(t.dtype, t.shape) for t in inputs]}"
        )
    (cast,) = readers
    _insert(parsed, subgraph, image, cast)
    return serialize(parsed)


def _insert(parsed, subgraph, image, cast):
    """Makes the image colour, and its cast the first of three operators."""
    from ai_edge_litert import schema_py_generated as schema

    operator = subgraph.operators[cast]
    (grey,) = operator.outputs
    height, width = (int(n) for n in subgraph.tensors[image].shape[1:3])
    colour_shape = np.array([1, height, width, 3], np.int32)
    subgraph.tensors[image].shape = colour_shape
    subgraph.tensors[image].shapeSignature = None

    def tensor(name, shape, constant=None):
        made = copy.copy(subgraph.tensors[grey])
        made.name, made.shape, made.shapeSignature = name, shape, None
        buffer = schema.BufferT()
        if constant is not None:
            buffer.data = np.frombuffer(constant.tobytes(), np.uint8)
        made.buffer = len(parsed.buffers)
        parsed.buffers.append(buffer)
        subgraph.tensors.append(made)
        return len(subgraph.tensors) - 1

    grey_shape = np.array([1, height, width, 1], np.int32)
    weights = np.array(WEIGHTS, np.float32) / SCALE
    colour = tensor("colour/float", colour_shape)
    kernel = tensor("colour/weights", np.array([1, 1, 1, 3], np.int32), weights)
    # The half that makes of rounding down a rounding to the nearest.
    half = tensor("colour/half", np.array([1], np.int32), np.float32([0.5]))
    mixed = tensor("colour/mixed", grey_shape)
    operator.outputs = np.array([colour], np.int32)

    convolve = schema.OperatorT()
    convolve.opcodeIndex = _operator_code(parsed, "CONV_2D")
    convolve.inputs = np.array([colour, kernel, half], np.int32)
    convolve.outputs = np.array([mixed], np.int32)
    convolve.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    convolve.builtinOptions = schema.Conv2DOptionsT()
    convolve.builtinOptions.padding = schema.Padding.VALID
    convolve.builtinOptions.strideH = convolve.builtinOptions.strideW = 1
    convolve.builtinOptions.dilationHFactor = 1
    convolve.builtinOptions.dilationWFactor = 1
    floor = schema.OperatorT()
    floor.opcodeIndex = _operator_code(parsed, "FLOOR")
    floor.inputs = np.array([mixed], np.int32)
    floor.outputs = np.array([grey], np.int32)
    subgraph.operators[cast + 1 : cast + 1] = [convolve, floor]


def _operator_code(parsed, name):
    """Where version 1 of an operator stands in the table of those in use."""
    from ai_edge_litert import schema_py_generated as schema

    number = getattr(schema.BuiltinOperator, name)
    for place, code in enumerate(parsed.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number:
            if code.version == 1:
                return place
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    parsed.operatorCodes.append(code)
    return len(parsed.operatorCodes) - 1
