"""What must hold of a converted graph before anything is run through it."""

import numpy as np

from keras_distill.tflite.file_checks import check_buffers, check_normalization
from keras_distill.tflite.from_keras import INPUT
from keras_distill.tflite.op_versions import NEWEST_VERSION, OLDEST_RUNTIME
from keras_distill.tflite.verification_error import VerificationError

# In the order they are made.
STRUCTURE_CHECKS = (
    "buffers",
    "normalisation",
    "operators",
    "versions",
    "signature",
    "hybrid",
    "depthwise",
    "quantised",
    "weights",
    "ratio",
)
# Below this the names and scales of the graph, which do not shrink, outweigh the
# weights, which do: a float file of 100 kB has 25,000 of them.
RATIO_FROM_BYTES = 100_000
# Of each mode: what the operators with weights hold and compute on, the bytes of a
# weight, and the largest size as a part of the float file's.
KINDS = {
    "float32": ("FLOAT32", "FLOAT32"),
    "float16": ("FLOAT16", "FLOAT32"),
    "dynamic": ("INT8", "FLOAT32"),
    "int8": ("INT8", "INT8"),
    "int8-qat": ("INT8", "INT8"),
}
BYTES = {"FLOAT32": 4, "FLOAT16": 2, "INT8": 1}
MAX_RATIO = {"float16": 0.6, "dynamic": 0.45, "int8": 0.45, "int8-qat": 0.45}


def check_structure(
    model,
    graph,
    network,
    signature,
    output,
    mode,
    reference=None,
    max_ratio=None,
    float_head=False,
):
    """Makes the checks that `keras_distill.tflite.verify` describes, up to `ratio`.

    Args:
        model: Bytes of the .tflite.
        graph: Its `Graph`.
        network: The `keras.Model` that it was converted from.
        signature: String, the name that its signature must have.
        output: String, the name of its output; or, of several, a dictionary from
            their names to their shapes.
        mode: One of `KINDS`.
        reference: Bytes of the float .tflite, or `None`.
        max_ratio: Largest size as a part of `reference`'s, or `None` for that of
            `MAX_RATIO`.
        float_head: Whether the last operator with weights must be in float, where
            `mode` is `"int8"`. Defaults to `False`.

    Raises:
        VerificationError: If a check fails.
    """
    check_buffers(model)
    check_normalization(model)
    _check_operators(graph)
    _check_signature(graph, network, signature, output)
    _check_scales(graph)
    _check_quantised(graph, mode, float_head)
    _check_weights(graph, network, mode)
    if mode in MAX_RATIO:
        limit = MAX_RATIO[mode] if max_ratio is None else max_ratio
        _check_ratio(model, reference, mode, limit)


def _check_signature(graph, network, signature, output):
    if isinstance(output, str):
        output = {output: (1, *network.output_shape[1:])}
    expected = {
        signature: (
            {INPUT: ("UINT8", (1, *network.input_shape[1:]))},
            {name: ("FLOAT32", shape) for name, shape in output.items()},
        )
    }
    found = {
        key: tuple(
            {name: (t.dtype, t.shape) for name, t in sides[side].items()}
            for side in ("inputs", "outputs")
        )
        for key, sides in graph.signatures.items()
    }
    if found != expected:
        raise VerificationError(
            f"The model must have the signature {expected}. Received: {found}",
            "signature",
        )


def _check_operators(graph):
    versions = graph.newest_versions()
    foreign = [
        name
        for name in versions
        if name.startswith("CUSTOM") or name.endswith(("_VARIABLE", "VAR_HANDLE"))
    ]
    if foreign:
        raise VerificationError(
            "The model must consist of built-in operators that hold no variables. "
            f"Received: operators {', '.join(foreign)}",
            "operators",
        )
    newer = {
        name: version
        for name, version in versions.items()
        if version > NEWEST_VERSION.get(name, 0)
    }
    if newer:
        listed = ", ".join(
            f"{name} version {version} (newest: {NEWEST_VERSION.get(name, 'none')})"
            for name, version in newer.items()
        )
        raise VerificationError(
            f"Every operator must be known to {OLDEST_RUNTIME}. Received: {listed}",
            "versions",
        )


def _check_scales(graph):
    for op, data, weights in graph.weighted():
        if weights.dtype != "INT8":
            continue
        if op.name == "FULLY_CONNECTED" and data.dtype != "INT8" and weights.scales > 1:
            raise VerificationError(
                "Fully connected int8 weights beside float data must have one scale: "
                f"{OLDEST_RUNTIME} takes several for one and answers nonsense. "
                f"Received: {weights.name!r} with {weights.scales} scales",
                "hybrid",
            )
        channels = weights.shape[-1]
        if op.name == "DEPTHWISE_CONV_2D" and weights.scales != channels:
            raise VerificationError(
                "int8 depthwise weights must have one scale a channel, one for all "
                f"destroys them. Received: {weights.name!r} with {weights.scales} "
                f"scales for {channels} channels",
                "depthwise",
            )


def _check_weights(graph, network, mode):
    # Kernels stay whole where biases and batch statistics are folded away.
    kernels = sum(int(np.prod(w.shape)) for w in network.weights if len(w.shape) > 1)
    expected = kernels * BYTES[KINDS[mode][0]]
    if graph.constant_bytes < expected:
        raise VerificationError(
            f"The model must hold the network's {kernels} kernel weights, "
            f"{expected} bytes as {mode}. Received: {graph.constant_bytes} bytes of "
            "constants",
            "weights",
        )


def _check_quantised(graph, mode, float_head):
    kinds = [
        (op.name, weights.name, weights.dtype, data.dtype)
        for op, data, weights in graph.weighted()
    ]
    if float_head and mode == "int8" and kinds:
        *kinds, head = kinds
        if head[2:] != KINDS["float32"]:
            raise VerificationError(
                "The last operator with weights must compute in float. Received: "
                f"{head[0]} {head[1]!r} with {head[2]} weights and {head[3]} data",
                "quantised",
            )
    left = [kind for kind in kinds if kind[2:] != KINDS[mode]]
    if left or not kinds:
        listed = "; ".join(
            f"{name} {tensor!r} with {weights} weights and {data} data"
            for name, tensor, weights, data in left[:3]
        )
        weights, data = KINDS[mode]
        raise VerificationError(
            f"Every operator with weights must hold {weights} ones and compute on "
            f"{data} data{' up to the last' if float_head else ''}, as {mode}. "
            f"Received: {len(left)} of {len(kinds)} do not: "
            f"{listed or 'there are none'}",
            "quantised",
        )


def _check_ratio(model, reference, mode, max_ratio):
    if reference is None or len(reference) < RATIO_FROM_BYTES:
        return
    ratio = len(model) / len(reference)
    if ratio > max_ratio:
        raise VerificationError(
            f"The {mode} file must have at most {max_ratio:.2f} of the size of the "
            f"float one. Received: {len(model)} of {len(reference)} bytes, "
            f"{ratio:.2f}",
            "ratio",
        )
