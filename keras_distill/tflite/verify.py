"""Proof that a .tflite embeds as the Keras model it came from, on any runtime."""

import numpy as np

from keras_distill.device.embedder import Embedder
from keras_distill.tflite.convert import embedder_of
from keras_distill.tflite.from_keras import (
    OUTPUT,
    SIGNATURE,
    check_images,
    check_mode,
    keras_rows,
)
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.structure import STRUCTURE_CHECKS, check_structure
from keras_distill.tflite.verification_error import VerificationError

# In the order they are made. What each holds is in `verify`.
CHECKS = (*STRUCTURE_CHECKS, "finite", "norm", "cosine")


def verify(
    model,
    student,
    images,
    mode="float32",
    reference=None,
    min_cosine_mean=0.999,
    min_cosine=0.98,
    norm_tolerance=1e-3,
    max_ratio=None,
    runtime=None,
):
    """Checks a converted embedder, and measures how near it is to the Keras one.

    Many a converter writes a file that loads, runs and answers nonsense. So each
    check below has been seen to catch the fault that it is for:

    * `buffers`: every constant lies inside the flatbuffer, where metadata writers
      and browsers look for it;
    * `normalisation`: metadata, if there are any, do not make a client normalise
      the pixels that the graph normalises;
    * `operators`: none is custom, a TensorFlow (Flex) one, or reads a variable;
    * `versions`: none is newer than tflite-runtime 2.14.0 can run;
    * `signature`: one signature `embed`, `image` uint8[1, height, width, channels]
      to `embedding` float32[1, dim], sizes as the student's;
    * `hybrid`: no fully connected operator has int8 weights of several scales and
      float data: old runtimes accept it and compute rubbish;
    * `depthwise`: int8 depthwise weights have one scale a channel;
    * `quantised`: every operator with weights has weights and data of the kind that
      `mode` stands for: none was left in float, and none was quantised unasked;
    * `weights`: there is room for the student's weights in the file's constants;
    * `ratio` (with `reference`, but float32): the file is small enough, where the
      float one has at least 100 kB;
    * `finite`, `norm`: embeddings are numbers, and rows of length one;
    * `cosine`: they point where the student's do, on average and at worst.

    Args:
        model: Bytes of the .tflite.
        student: The `keras.Model` that it was converted from.
        images: uint8 array `(count, height, width, channels)`, images that neither
            trained the student nor calibrated the model.
        mode: One of `keras_distill.tflite.MODES`: what the model is meant to be.
        reference: Bytes of the float .tflite, to compare sizes with, or `None`.
        min_cosine_mean: Least mean cosine to the student. Defaults to `0.999`.
        min_cosine: Least cosine of any image. Defaults to `0.98`.
        norm_tolerance: Largest distance of a row's length from 1. Defaults to `1e-3`.
        max_ratio: Largest size as a part of `reference`'s. Defaults to 0.6 for
            float16 and 0.45 for the modes of 8 bits.
        runtime: Interpreter to run it with, see `keras_distill.device.Embedder`.

    Returns:
        Dictionary of what was measured: `bytes`, `operators` (`{name: version}`),
        `images`, `cosine_mean`, `cosine_min`, `norm_min`, `norm_max`.

    Raises:
        VerificationError: A `ValueError`; its `check` is one of `CHECKS`.
        ValueError: If an argument is not as described.
    """
    check_mode(mode)
    images = check_images(images)
    student = embedder_of(student)
    graph = read_graph(model)
    check_structure(
        model, graph, student, SIGNATURE, OUTPUT, mode, reference, max_ratio
    )
    embeddings = Embedder(model, runtime).embed(images)
    figures = _compare(
        embeddings,
        keras_rows(student, images),
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
