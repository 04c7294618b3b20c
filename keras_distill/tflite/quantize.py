"""The 8 bit forms of a float .tflite: weights alone, or the trunk in integers.

Rounding a row's length to eight bits is what spoils an int8 embedder: directions
survive (cosine 0.9997 to the float model), lengths end up anywhere in 0.7 to 1.2,
and with them every threshold. So only the trunk is quantised: the preprocessing
before the first weights and the normalisation after the last stay in float.
"""

import re
import warnings

import numpy as np

from keras_distill.device.quiet import without_chatter
from keras_distill.tflite.graph import WEIGHTED, parse, read_graph, serialize

# What a trunk may end with: the weights, and pooling, which loses nothing in int8.
_ENDS = {*WEIGHTED, "MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
# Operators that ai-edge-quantizer names otherwise than the schema does.
_QUANTIZER_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
# How many scales the weights of each operator have where data stays in float.
_WEIGHT_SCALES = {
    "CONV_2D": "CHANNELWISE",
    "DEPTHWISE_CONV_2D": "CHANNELWISE",
    "FULLY_CONNECTED": "TENSORWISE",
}
# Operators that move numbers about or act on each alone, as int8 kernels of the
# oldest runtime do too. Others between the weights stay float islands.
_INT8 = _ENDS | {
    "ADD",
    "CONCATENATION",
    "HARD_SWISH",
    "LOGISTIC",
    "MAXIMUM",
    "MIRROR_PAD",
    "MUL",
    "PAD",
    "PADV2",
    "RELU",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "SLICE",
    "SPLIT",
    "STRIDED_SLICE",
    "SUB",
    "TANH",
    "TRANSPOSE",
}


def quantize_trunk(model, calibration, float_head=False):
    """Quantises the trunk of a float .tflite to int8.

    Weights are symmetric int8 with one scale a channel, activations int8 with one
    scale a tensor, from the least and greatest value that each takes over all of
    `calibration`. (The quantizer's own calibration averages the extremes of the
    images, which cuts off the brightest tenth of the input range.)

    Args:
        model: Bytes of a float .tflite with one signature that takes one image.
        calibration: uint8 array `(count, height, width, channels)`, real images of
            the kind that will be embedded. 50 are the least that gives a minimum
            cosine above 0.99, 200 to 1000 are better.
        float_head: Whether the last operator that holds weights, and what follows
            it, stays in float. Defaults to `False`.

    Returns:
        Bytes of the quantised .tflite, of the same signature.

    Raises:
        ValueError: If nothing would be left to quantise before a float head.
    """
    from ai_edge_quantizer import quantizer

    model = _with_unique_names(model)
    graph, ranges = read_graph(model), activation_ranges(model, calibration)
    chosen = trunk(graph, float_head)
    for name in _entrances(graph, {name for name, _ in chosen}).intersection(ranges):
        ends = ranges[name]
        low, high = on_the_grid(ends["min"].item(), ends["max"].item())
        shape = ends["min"].shape
        ranges[name] = {"min": np.full(shape, low), "max": np.full(shape, high)}
    worker = quantizer.Quantizer(bytearray(model))
    for name, operator in chosen:
        worker.add_static_config(
            # The quantizer searches the names of all outputs, each ended by ";".
            regex=f"^{re.escape(name)};",
            operation_name=_QUANTIZER_NAMES.get(operator, operator),
            activation_num_bits=8,
            weight_num_bits=8,
        )
    return _quantized(worker, ranges)


def quantize_weights(model):
    """Stores the weights of a float .tflite in 8 bits and computes on float data.

    The runtime rounds each activation to 8 bits as it comes, by its own range, so
    that no calibration is needed (dynamic range). Convolutions have one scale a
    channel: one for a whole depthwise kernel destroys it. Fully connected weights
    have one scale in all: with one a channel the operator needs version 12, and the
    quantizer does not say so, so that older runtimes take the first scale for all
    and answer nonsense.

    Args:
        model: Bytes of a float .tflite.

    Returns:
        Bytes of a .tflite of the same signature.
    """
    from ai_edge_quantizer import quantizer

    worker = quantizer.Quantizer(bytearray(_with_unique_names(model)))
    for operator, granularity in _WEIGHT_SCALES.items():
        worker.add_dynamic_config(".*", operator, 8, granularity)
    return _quantized(worker, None)


def on_the_grid(low, high):
    """A range of 8 bits that holds its ends exactly, where one of 255 steps does not.

    The steps of a range lie on 0. Pixels scaled to [-1, 1] are odd multiples of half
    a step of 2 / 255: every one of them would be rounded by that half, black and
    white too. With 254 steps both ends are exact, and the others on average off by
    a quarter.

    Args:
        low, high: Floats, the least and the greatest value.

    Returns:
        `(low, high)`: the same, or, for a symmetric range, `low` one step lower.
    """
    if low < 0 and abs(low + high) < 1e-3 * high:
        return -high * 128 / 127, high
    return low, high


def _entrances(graph, chosen):
    """Names of the tensors that operators of the trunk take from outside it."""
    inside, taken = set(), set()
    for op in graph.operators:
        if graph.tensors[op.outputs[0]].name in chosen:
            inside.update(op.outputs)
            taken.update(i for i in op.inputs if i >= 0)
    return {graph.tensors[i].name for i in taken - inside}


def trunk(graph, float_head=False):
    """Which operators of a float graph become int8.

    Those that hold weights, and those that int8 kernels exist for and that lie
    behind some weights and before some weights or pooling.

    Args:
        graph: A `Graph`.
        float_head: See `quantize_trunk`.

    Returns:
        List of `(name of the first output tensor, operator name)`, in graph order.
    """
    operators = _without_head(graph) if float_head else graph.operators
    producer = {out: op for op in operators for out in op.outputs}
    behind = set()  # tensors with weights above them
    for op in operators:
        if op.name in WEIGHTED or behind.intersection(op.inputs):
            behind.update(op.outputs)
    before = set()  # tensors with weights or pooling below them
    for op in reversed(operators):
        if op.name in _ENDS or before.intersection(op.outputs):
            before.update(i for i in op.inputs if i in producer)
    chosen = []
    for op in operators:
        inner = behind.intersection(op.inputs) and (
            op.name in _ENDS or before.intersection(op.outputs)
        )
        if op.name in WEIGHTED or (op.name in _INT8 and inner):
            chosen.append((graph.tensors[op.outputs[0]].name, op.name))
    return chosen


def _without_head(graph):
    """The operators before the last that holds weights, and beside it."""
    weighted = [op for op, _, _ in graph.weighted()]
    if len(weighted) < 2:
        raise ValueError(
            "With its head in float, a network needs two operators with weights to be "
            f"quantised at all. Received: {[op.name for op in weighted]}"
        )
    head = set(weighted[-1].outputs)
    kept = []
    for op in graph.operators:
        if head.intersection((*op.inputs, *op.outputs)):
            head.update(op.outputs)
        else:
            kept.append(op)
    return kept


def activation_ranges(model, images):
    """The least and greatest value of each float activation over some images.

    Args:
        model: Bytes of a float .tflite whose only input is one image.
        images: uint8 array `(count, height, width, channels)`.

    Returns:
        Dictionary from the name of a tensor to `{"min": array, "max": array}`, of
        one element each and the rank of the tensor.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Without delegates every activation is computed, fused or not, and can be read.
    interpreter = Interpreter(
        model_content=bytes(model),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]["index"]
    written = {i for op in read_graph(model).operators for i in op.outputs}
    activations = [
        (detail["index"], detail["name"])
        for detail in interpreter.get_tensor_details()
        if detail["index"] in written and detail["dtype"] == np.float32
    ]
    ranges = {}
    for row in images:
        interpreter.set_tensor(image, row[None])
        interpreter.invoke()
        for index, name in activations:
            value = interpreter.get_tensor(index)
            low, high = value.min(keepdims=True), value.max(keepdims=True)
            if name in ranges:
                low = np.minimum(low, ranges[name]["min"])
                high = np.maximum(high, ranges[name]["max"])
            ranges[name] = {"min": low, "max": high}
    return ranges


def _with_unique_names(model):
    """The quantizer knows tensors by name: gives each its own."""
    parsed = parse(model)
    seen = set()
    for index, tensor in enumerate(parsed.subgraphs[0].tensors):
        if tensor.name in seen:
            tensor.name += f"#{index}".encode()
        seen.add(tensor.name)
    return serialize(parsed)


def _quantized(worker, ranges):
    with without_chatter(), warnings.catch_warnings():
        # It makes an interpreter that keeps all tensors, and is warned of that.
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors.*")
        result = worker.quantize(
            ranges, enable_progress_bar=False, enable_progress_report=False
        )
    return serialize(parse(result.quantized_model))
