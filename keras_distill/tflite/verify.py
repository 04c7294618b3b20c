"""Proof that a .tflite embeds as the Keras model it came from, on any runtime."""

import keras
import numpy as np

from keras_distill.device.embedder import Embedder
from keras_distill.tflite.convert import INPUT, MODES, OUTPUT, SIGNATURE, embedder_of
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.op_versions import NEWEST_VERSION, OLDEST_RUNTIME
from keras_distill.tflite.verification_error import VerificationError

# In the order they are made. What each holds is in `_structure` and `verify`.
CHECKS = (
    "operators",
    "versions",
    "signature",
    "hybrid",
    "depthwise",
    "quantised",
    "weights",
    "ratio",
    "finite",
    "norm",
    "cosine",
)
# Below this the names and scales of the graph, which do not shrink, outweigh the
# weights, which do: a float file of 100 kB has 25,000 of them.
RATIO_FROM_BYTES = 100_000


def verify(
    model,
    student,
    images,
    mode="float32",
    reference=None,
    min_cosine_mean=0.999,
    min_cosine=0.98,
    norm_tolerance=1e-3,
    max_ratio=0.45,
    runtime=None,
):
    """Checks a converted embedder, and measures how near it is to the Keras one.

    Many a converter writes a file that loads, runs and answers nonsense. So each
    check below has been seen to catch the fault that it is for:

    * `operators`: none is custom, a TensorFlow (Flex) one, or reads a variable;
    * `versions`: none is newer than tflite-runtime 2.14.0 can run;
    * `signature`: one signature `embed`, `image` uint8[1, height, width, channels]
      to `embedding` float32[1, dim], sizes as the student's;
    * `hybrid`: no fully connected operator has int8 weights of several scales and
      float data: old runtimes accept it and compute rubbish;
    * `depthwise`: int8 depthwise weights have one scale a channel;
    * `quantised` (int8 only): every operator with weights has int8 weights and data;
    * `weights`: there is room for the student's weights in the file's constants;
    * `ratio` (int8 with `reference`): the file is small enough, where the float
      one has at least 100 kB;
    * `finite`, `norm`: embeddings are numbers, and rows of length one;
    * `cosine`: they point where the student's do, on average and at worst.

    Args:
        model: Bytes of the .tflite.
        student: The `keras.Model` that it was converted from.
        images: uint8 array `(count, height, width, channels)`, images that neither
            trained the student nor calibrated the model.
        mode: `"float32"` or `"int8"`: what the model is meant to be.
        reference: Bytes of the float .tflite, to compare sizes with, or `None`.
        min_cosine_mean: Least mean cosine to the student. Defaults to `0.999`.
        min_cosine: Least cosine of any image. Defaults to `0.98`.
        norm_tolerance: Largest distance of a row's length from 1. Defaults to `1e-3`.
        max_ratio: Largest size as a part of `reference`'s. Defaults to `0.45`.
        runtime: Interpreter to run it with, see `keras_distill.device.Embedder`.

    Returns:
        Dictionary of what was measured: `bytes`, `operators` (`{name: version}`),
        `images`, `cosine_mean`, `cosine_min`, `norm_min`, `norm_max`.

    Raises:
        VerificationError: A `ValueError`; its `check` is one of `CHECKS`.
        ValueError: If an argument is not as described.
    """
    if mode not in MODES:
        raise ValueError(
            f"`mode` must be one of {', '.join(map(repr, MODES))}. "
            f"Received: mode={mode!r}"
        )
    images = np.asarray(images)
    if not len(images):
        raise ValueError(
            "`images` must be at least one image to compare on. "
            f"Received: images.shape={images.shape}"
        )
    student = embedder_of(student)
    graph = read_graph(model)
    _check_operators(graph)
    _check_signature(graph, student)
    _check_scales(graph)
    if mode == "int8":
        _check_quantised(graph)
    _check_weights(graph, student, mode)
    if mode == "int8":
        _check_ratio(model, reference, max_ratio)
    embeddings = Embedder(model, runtime).embed(images)
    figures = _compare(
        embeddings,
        keras_embeddings(student, images),
        min_cosine_mean,
        min_cosine,
        norm_tolerance,
    )
    return {
        "bytes": len(model),
        "operators": graph.newest_versions(),
        "images": len(images),
        **figures,
    }


def keras_embeddings(student, images, batch_size=256):
    """The student's own embeddings of uint8 images, float32 `(count, dim)`."""
    rows = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size].astype("float32")
        rows.append(keras.ops.convert_to_numpy(student(batch, training=False)))
    return np.concatenate(rows).astype(np.float32)


def _check_signature(graph, student):
    expected = {
        SIGNATURE: (
            {INPUT: ("UINT8", (1, *student.input_shape[1:]))},
            {OUTPUT: ("FLOAT32", (1, *student.output_shape[1:]))},
        )
    }
    found = {
        key: tuple(
            {name: (t.dtype, t.shape) for name, t in signature[side].items()}
            for side in ("inputs", "outputs")
        )
        for key, signature in graph.signatures.items()
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


def _check_weights(graph, student, mode):
    # Kernels stay whole where biases and batch statistics are folded away.
    kernels = sum(int(np.prod(w.shape)) for w in student.weights if len(w.shape) > 1)
    expected = kernels * (4 if mode == "float32" else 1)
    if graph.constant_bytes < expected:
        raise VerificationError(
            f"The model must hold the student's {kernels} kernel weights, "
            f"{expected} bytes as {mode}. Received: {graph.constant_bytes} bytes of "
            "constants",
            "weights",
        )


def _check_quantised(graph):
    kinds = [
        (op.name, weights.name, weights.dtype, data.dtype)
        for op, data, weights in graph.weighted()
    ]
    left = [kind for kind in kinds if kind[2:] != ("INT8", "INT8")]
    if left or not kinds:
        listed = "; ".join(
            f"{name} {tensor!r} with {weights} weights and {data} data"
            for name, tensor, weights, data in left[:3]
        )
        raise VerificationError(
            "Every operator with weights must compute in int8. Received: "
            f"{len(left)} of {len(kinds)} do not: {listed or 'there are none'}",
            "quantised",
        )


def _check_ratio(model, reference, max_ratio):
    if reference is None or len(reference) < RATIO_FROM_BYTES:
        return
    ratio = len(model) / len(reference)
    if ratio > max_ratio:
        raise VerificationError(
            f"The int8 file must have at most {max_ratio:.2f} of the size of the "
            f"float one. Received: {len(model)} of {len(reference)} bytes, "
            f"{ratio:.2f}",
            "ratio",
        )


def _compare(embeddings, expected, min_cosine_mean, min_cosine, norm_tolerance):
    broken = int(np.sum(~np.isfinite(embeddings).all(axis=1)))
    if broken:
        raise VerificationError(
            "Embeddings must be finite. Received: NaN or infinity in those of "
            f"{broken} of {len(embeddings)} images",
            "finite",
        )
    # float64: the sum of a few hundred float32 squares is off by more than 1e-7.
    rows, expected = embeddings.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    low, high = float(lengths.min()), float(lengths.max())
    if max(1 - low, high - 1) > norm_tolerance:
        raise VerificationError(
            f"Embeddings must have length 1 within {norm_tolerance}. "
            f"Received: lengths {low:.4f} to {high:.4f}",
            "norm",
        )
    cosines = np.sum(rows * expected, axis=1)
    cosines /= lengths * np.maximum(np.linalg.norm(expected, axis=1), 1e-12)
    mean, least = float(cosines.mean()), float(cosines.min())
    if mean < min_cosine_mean or least < min_cosine:
        raise VerificationError(
            "Cosines to the Keras embeddings must be at least "
            f"{min_cosine_mean} on average and {min_cosine} at worst. "
            f"Received: mean {mean:.5f}, least {least:.5f} over {len(rows)} images",
            "cosine",
        )
    return {
        "cosine_mean": mean,
        "cosine_min": least,
        "norm_min": low,
        "norm_max": high,
    }
