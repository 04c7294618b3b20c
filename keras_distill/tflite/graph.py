"""Reads what is inside a .tflite: operators, tensors, constants, signatures."""

import collections
import dataclasses

import numpy as np

# Operators that hold trained weights: which input is the data, which the weights.
WEIGHTED = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of a graph.

    Attributes:
        name: String.
        shape: Tuple of integers.
        dtype: String such as `"FLOAT32"`, `"INT8"`.
        scales: How many quantisation scales it has: 0 if it is not quantised, 1 if
            they are per tensor, else one for each slice of `axis`.
        axis: The axis that `scales` go along.
        constant_bytes: Size of its constant, 0 for an activation.
    """

    name: str
    shape: tuple
    dtype: str
    scales: int
    axis: int
    constant_bytes: int


@dataclasses.dataclass(frozen=True)
class Operator:
    """An operator of a graph: its name, version and the tensors it joins.

    `inputs` and `outputs` are indices into `Graph.tensors`; -1 is an input that is
    left out. A custom operator (Flex ones too) is called `CUSTOM:its-name`.
    """

    name: str
    version: int
    inputs: tuple
    outputs: tuple


@dataclasses.dataclass(frozen=True)
class Graph:
    """The only sub-graph of a .tflite, with its signatures.

    Attributes:
        operators: Tuple of `Operator`, in the order they run.
        tensors: Tuple of `Tensor`.
        signatures: Dictionary from the name of a signature to
            `{"inputs": {name: Tensor}, "outputs": {name: Tensor}}`.
        constant_bytes: Size of all constants, each shared one counted once.
    """

    operators: tuple
    tensors: tuple
    signatures: dict
    constant_bytes: int

    def newest_versions(self):
        """The highest version of each operator in the graph, `{name: version}`."""
        versions = collections.defaultdict(int)
        for op in self.operators:
            versions[op.name] = max(versions[op.name], op.version)
        return dict(sorted(versions.items()))

    def weighted(self):
        """Yields `(operator, data, weights)` of each that holds trained weights.

        Weights in half precision are those before they are made single.
        """
        stored = {
            op.outputs[0]: op.inputs[0]
            for op in self.operators
            if op.name == "DEQUANTIZE" and self.tensors[op.inputs[0]].dtype == "FLOAT16"
        }
        for op in self.operators:
            if op.name in WEIGHTED:
                data, weights = (op.inputs[i] for i in WEIGHTED[op.name])
                weights = stored.get(weights, weights)
                yield op, self.tensors[data], self.tensors[weights]


def read_graph(model):
    """Reads the graph of a .tflite.

    Args:
        model: Bytes of the file.

    Returns:
        A `Graph`.

    Raises:
        ValueError: If these are not the bytes of a .tflite of one sub-graph.
    """
    parsed = parse(model)
    if len(parsed.subgraphs) != 1:
        raise ValueError(
            "Expected a .tflite of one sub-graph. "
            f"Received: subgraphs={len(parsed.subgraphs)}"
        )
    subgraph = parsed.subgraphs[0]
    tensors = tuple(_tensor(parsed, t) for t in subgraph.tensors)
    operators = tuple(
        Operator(
            _operator_name(parsed.operatorCodes[op.opcodeIndex]),
            parsed.operatorCodes[op.opcodeIndex].version,
            tuple(int(i) for i in op.inputs),
            tuple(int(i) for i in op.outputs),
        )
        for op in subgraph.operators
    )
    signatures = {
        s.signatureKey.decode(): {
            "inputs": {i.name.decode(): tensors[i.tensorIndex] for i in s.inputs},
            "outputs": {o.name.decode(): tensors[o.tensorIndex] for o in s.outputs},
        }
        for s in parsed.signatureDefs or []
    }
    constant_bytes = sum(_size(buffer) for buffer in parsed.buffers)
    for metadata in parsed.metadata or []:
        constant_bytes -= _size(parsed.buffers[metadata.buffer])
    return Graph(operators, tensors, signatures, constant_bytes)


def parse(model):
    """The flatbuffer object of a .tflite, its constants inline and as arrays.

    Args:
        model: Bytes of the file.

    Raises:
        ValueError: If they are not the bytes of a .tflite, or cut off or damaged.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = bytes(model)
    if model[4:8] != b"TFL3":
        raise ValueError(
            "Expected the bytes of a .tflite, which carry the mark 'TFL3'. "
            f"Received: {len(model)} bytes that begin with {model[:8]!r}"
        )
    try:
        parsed = flatbuffer_utils.read_model_from_bytearray(model)
        for buffer in parsed.buffers:
            if buffer.data is not None and not isinstance(buffer.data, np.ndarray):
                buffer.data = np.frombuffer(bytes(buffer.data), np.uint8)
    except Exception as error:  # whatever unpacking nonsense comes to
        raise ValueError(
            f"The .tflite is damaged ({type(error).__name__}: {error}). "
            f"Received: {len(model)} bytes"
        ) from error
    return parsed


def serialize(parsed):
    """Bytes of a .tflite from a flatbuffer object, every constant inside.

    Large constants that a tool has left behind the flatbuffer are moved into it
    (`parse` has read them): several runtimes and tools lose them there.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(parsed))


def _operator_name(code):
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    # Codes above 127 do not fit the old field, so the larger one is the code.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == BuiltinOperator.CUSTOM:
        return f"CUSTOM:{(code.customCode or b'').decode()}"
    return _names(BuiltinOperator)[number]


def _tensor(parsed, tensor):
    from ai_edge_litert.schema_py_generated import TensorType

    quantization = tensor.quantization
    scales = 0
    if quantization is not None and quantization.scale is not None:
        scales = len(quantization.scale)
    return Tensor(
        name=tensor.name.decode(),
        shape=tuple(int(n) for n in tensor.shape) if tensor.shape is not None else (),
        dtype=_names(TensorType)[tensor.type],
        scales=scales,
        axis=quantization.quantizedDimension if scales else 0,
        constant_bytes=_size(parsed.buffers[tensor.buffer]),
    )


def _size(buffer):
    return 0 if buffer.data is None else len(buffer.data)


def _names(enumeration):
    return {n: name for name, n in vars(enumeration).items() if isinstance(n, int)}
