"""From a Keras embedder to the bytes of a .tflite that a phone runs."""

import warnings

from keras_distill.tflite.from_keras import (
    INPUT,
    MODES,
    OUTPUT,
    SIGNATURE,
    check_mode,
    from_keras,
    image_network,
)
from keras_distill.tflite.quantization_aware import quantization_aware

__all__ = ["INPUT", "MODES", "OUTPUT", "SIGNATURE", "convert", "embedder_of"]


def convert(student, mode="float32", calibration=None):
    """Converts an image embedder to TensorFlow Lite.

    The file has one signature, `embed(image: uint8[1, height, width, channels]) ->
    embedding: float32[1, dim]`: one image of pixel values 0 to 255 in, the row that
    `student` gives out, unit length if `student` ends so. Preprocessing and the
    normalisation are inside. The same student gives the same bytes.

    Args:
        student: Built `keras.Model` from images in [0, 255], `(batch, height, width,
            channels)` with all but the batch known, to embeddings `(batch, dim)`; or
            a model with such a `student`. A student with layers in half precision is
            converted in float32.
        mode: Defaults to `"float32"`.

            * `"float32"`: the reference;
            * `"float16"`: weights in half precision, computed on in single;
            * `"dynamic"`: weights in 8 bits, activations rounded to 8 bits as they
              come; needs no calibration;
            * `"int8"`: weights and activations of the trunk in 8 bits, ranges from
              `calibration`, the tail in float;
            * `"int8-qat"`: the same, after some epochs in which the student learns on
              `calibration` to give in 8 bits what it gives: `quantization_aware`
              with its defaults. Where that does not help, the file is that of
              `"int8"`, and a warning says so.
        calibration: uint8 array `(count, height, width, channels)` of real training
            images, needed by both modes of int8: they set the range of each
            activation. Noise instead of images makes a file that embeds nothing
            well.

    Returns:
        Bytes. They are not checked: see `keras_distill.tflite.verify`.

    Raises:
        ValueError: If `mode` is unknown, if `calibration` is missing or of another
            shape than the student's images, if the student is not an embedder, or
            if it cannot be trained for `"int8-qat"`.
        TypeError: If `student` is no `keras.Model` or `calibration` is not uint8.

    Example:

    ```python
    images, _ = train.arrays()
    model = keras_distill.tflite.convert(student, "int8", images[:500])
    pathlib.Path("embed_int8.tflite").write_bytes(model)
    ```
    """
    check_mode(mode)
    student = embedder_of(student)
    if mode == "int8-qat":
        taught = quantization_aware(student, calibration)
        if not taught.trained:
            warnings.warn(f"{taught}: the file is that of mode 'int8'.", stacklevel=2)
        student = taught.student
    return from_keras(student, mode, calibration, SIGNATURE, OUTPUT)


def embedder_of(student):
    """The `keras.Model` to convert: `student` or its own, checked for its shapes."""
    student = getattr(student, "student", student)
    return image_network(student, "student", "embeddings (batch, dim)")
