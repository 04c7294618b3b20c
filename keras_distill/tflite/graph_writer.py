"""Adds operators and constants to the graph of a .tflite, one by one."""

import numpy as np

from keras_distill.tflite.graph import parse, serialize
from keras_distill.tflite.op_versions import NEWEST_VERSION

# A flatbuffer addresses its own bytes with signed 32 bits.
MOST_BYTES = 2**31 - 1


class GraphWriter:
    """A .tflite that is being extended.

    Tensors are numbers, to be given to the operators that read them.

    Args:
        model: Bytes of a .tflite of one sub-graph; its own operators stay as they
            are, its metadata, which speak of other outputs, are left out.

    Attributes:
        inputs, outputs: Lists of tensors: those of the graph.
    """

    def __init__(self, model):
        self._model = parse(model)
        self._graph = self._model.subgraphs[0]
        self._model.metadata = []
        self.inputs = [int(i) for i in self._graph.inputs]
        self.outputs = [int(i) for i in self._graph.outputs]

    @classmethod
    def of_row(cls, name, dim):
        """A graph of no operators, whose input and output are one float row.

        Args:
            name: String, what the tensor is called.
            dim: Positive integer, its width.
        """
        from ai_edge_litert import schema_py_generated as schema

        row = schema.TensorT(name=name.encode(), shape=np.array([1, dim], np.int32))
        graph = schema.SubGraphT(tensors=[row], operators=[])
        graph.inputs = graph.outputs = np.array([0], np.int32)
        empty = schema.BufferT()
        model = schema.ModelT(version=3, operatorCodes=[], subgraphs=[graph])
        model.buffers = [empty]
        return cls(serialize(model))

    def shape(self, tensor):
        """The shape of a tensor, a tuple."""
        return tuple(int(n) for n in self._graph.tensors[tensor].shape)

    def constant(self, name, values, scale=None):
        """Adds a constant.

        Args:
            name: String.
            values: Array of float32, int32 or int8.
            scale: For int8: what a step is worth; it is symmetric, one scale for
                the whole tensor.

        Returns:
            The tensor.
        """
        from ai_edge_litert.schema_py_generated import BufferT

        buffer = BufferT()
        buffer.data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._model.buffers.append(buffer)
        number = len(self._model.buffers) - 1
        return self._tensor(name, values.shape, values.dtype, scale, number)

    def operator(self, name, inputs, output, shape, dtype="float32", **options):
        """Adds an operator with one output; see `operators` for more of them."""
        return self.operators(name, inputs, [(output, shape, dtype)], **options)[0]

    def operators(self, name, inputs, outputs, scale=None, **options):
        """Adds an operator.

        Args:
            name: Name of the operator in the schema, such as `"GATHER"`.
            inputs: Tensors; -1 for one that is left out.
            outputs: List of `(name, shape, dtype)`.
            scale: For outputs of int8: what a step is worth.
            **options: Fields of the operator's options, and `version`, which
                defaults to 1.

        Returns:
            List of tensors, one for each output.

        Raises:
            ValueError: If the oldest runtime does not know that version.
        """
        from ai_edge_litert import schema_py_generated as schema

        version = options.pop("version", 1)
        if version > NEWEST_VERSION.get(name, 0):
            raise ValueError(
                f"`version` must be at most {NEWEST_VERSION.get(name)} for the oldest "
                f"runtime. Received: {name} version={version}"
            )
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(name, version)
        operator.inputs = np.array(inputs, np.int32)
        kind = _OPTIONS.get(name)
        if kind is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = getattr(schema, kind + "T")()
            for key, value in options.items():
                if not hasattr(operator.builtinOptions, key):
                    raise ValueError(f"{kind} has no such field. Received: {key}")
                setattr(operator.builtinOptions, key, value)
        made = [self._tensor(n, s, np.dtype(d), scale, 0) for n, s, d in outputs]
        operator.outputs = np.array(made, np.int32)
        self._graph.operators.append(operator)
        return made

    def finish(self, signature, inputs, outputs):
        """The bytes of the .tflite, with one signature.

        Args:
            signature: String, its name.
            inputs, outputs: Dictionaries from names to tensors.

        Raises:
            ValueError: If the constants are more than a .tflite can hold.
        """
        from ai_edge_litert import schema_py_generated as schema

        size = sum(len(b.data) for b in self._model.buffers if b.data is not None)
        check_size(size)

        def names(tensors):
            return [schema.TensorMapT(k.encode(), int(i)) for k, i in tensors.items()]

        self._graph.inputs = np.array([*inputs.values()], np.int32)
        self._graph.outputs = np.array([*outputs.values()], np.int32)
        self._model.signatureDefs = [
            schema.SignatureDefT(
                names(inputs), names(outputs), signature.encode(), subgraphIndex=0
            )
        ]
        return serialize(self._model)

    def _tensor(self, name, shape, dtype, scale, buffer):
        from ai_edge_litert import schema_py_generated as schema

        tensor = schema.TensorT(name=name.encode(), buffer=buffer)
        tensor.shape = np.array(shape, np.int32)
        tensor.type = getattr(schema.TensorType, np.dtype(dtype).name.upper())
        if scale is not None:
            tensor.quantization = schema.QuantizationParametersT(
                scale=np.array([scale], np.float32), zeroPoint=np.array([0], np.int64)
            )
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _code(self, name, version):
        from ai_edge_litert import schema_py_generated as schema

        number = getattr(schema.BuiltinOperator, name)
        for index, code in enumerate(self._model.operatorCodes):
            found = max(code.builtinCode, code.deprecatedBuiltinCode)
            if (found, code.version) == (number, version):
                return index
        code = schema.OperatorCodeT(
            deprecatedBuiltinCode=min(number, 127), version=version, builtinCode=number
        )
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1


def check_size(size):
    """Raises ValueError if constants of `size` bytes are too many for a .tflite."""
    # A mebibyte is left for the network's own description.
    if size > MOST_BYTES - (1 << 20):
        raise ValueError(
            f"A .tflite holds less than {MOST_BYTES:,} bytes. "
            f"Received: constants of {size:,} bytes"
        )


_OPTIONS = {
    "ADD": "AddOptions",
    "CAST": "CastOptions",
    "DEQUANTIZE": "DequantizeOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "GATHER": "GatherOptions",
    "MINIMUM": "MaximumMinimumOptions",
    "MUL": "MulOptions",
    "RESHAPE": "ReshapeOptions",
    "SUM": "ReducerOptions",
    "TOPK_V2": "TopKV2Options",
}
