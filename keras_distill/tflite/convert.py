"""From a Keras embedder to the bytes of a .tflite that a phone runs."""

import tempfile

import keras
import numpy as np

from keras_distill.device.quiet import without_chatter
from keras_distill.tflite.graph import parse, serialize
from keras_distill.tflite.quantize import quantize_trunk

SIGNATURE, INPUT, OUTPUT = "embed", "image", "embedding"
MODES = ("float32", "int8")


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
        mode: `"float32"`, or `"int8"`: weights and activations of the trunk in 8
            bits, the tail in float. Defaults to `"float32"`.
        calibration: uint8 array `(count, height, width, channels)` of real training
            images, needed by `"int8"`: they set the range of each activation. Noise
            instead of images makes a file that embeds nothing well.

    Returns:
        Bytes. They are not checked: see `keras_distill.tflite.verify`.

    Raises:
        ValueError: If `mode` is unknown, if `calibration` is missing or of another
            shape than the student's images, or if the student is not an embedder.
        TypeError: If `student` is no `keras.Model` or `calibration` is not uint8.

    Example:

    ```python
    images, _ = train.arrays()
    model = keras_distill.tflite.convert(student, "int8", images[:500])
    pathlib.Path("embed_int8.tflite").write_bytes(model)
    ```
    """
    if mode not in MODES:
        raise ValueError(
            f"`mode` must be one of {', '.join(map(repr, MODES))}. "
            f"Received: mode={mode!r}"
        )
    student = embedder_of(student)
    image_shape = student.input_shape[1:]
    if mode == "int8":
        calibration = _check_calibration(calibration, image_shape)
    model = _convert_float(_in_float32(student), image_shape)
    return model if mode == "float32" else quantize_trunk(model, calibration)


def _convert_float(student, image_shape):
    import tensorflow as tf

    def embed(image):
        return {OUTPUT: student(tf.cast(image, tf.float32), training=False)}

    image = tf.TensorSpec((1, *image_shape), tf.uint8, name=INPUT)
    archive = keras.export.ExportArchive()
    archive.track(student)
    archive.add_endpoint(SIGNATURE, embed, input_signature=[image])
    with tempfile.TemporaryDirectory() as folder, without_chatter():
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[SIGNATURE]
        )
        return serialize(parse(converter.convert()))


def embedder_of(student):
    """The `keras.Model` to convert: `student` or its own, checked for its shapes."""
    student = getattr(student, "student", student)
    if not isinstance(student, keras.Model):
        raise TypeError(
            f"`student` must be a keras.Model. Received: student={student!r}"
        )
    taken, given = (
        getattr(student, name, None) for name in ("input_shape", "output_shape")
    )
    if not _is_known(taken, rank=4) or not _is_known(given, rank=2):
        raise ValueError(
            "`student` must take one batch of images (batch, height, width, channels) "
            "and give one of embeddings (batch, dim), all sizes but the batch known. "
            f"Received: input_shape={taken}, output_shape={given}"
        )
    return student


def _is_known(shape, rank):
    return isinstance(shape, tuple) and len(shape) == rank and None not in shape[1:]


def _in_float32(student):
    """The same student with every layer in float32; itself if it is so already."""
    if all(layer.compute_dtype == "float32" for layer in _layers(student)):
        return student
    config = keras.saving.serialize_keras_object(student)
    twin = keras.saving.deserialize_keras_object(_float32_policies(config))
    twin.set_weights(student.get_weights())
    return twin


def _layers(layer):
    yield layer
    for inner in getattr(layer, "layers", ()):
        yield from _layers(inner)


def _float32_policies(config):
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {key: _float32_policies(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_float32_policies(value) for value in config)
    return config


def _check_calibration(calibration, image_shape):
    if calibration is None:
        raise ValueError(
            "`calibration` is needed by mode='int8': real training images, uint8. "
            "Received: calibration=None"
        )
    calibration = np.asarray(calibration)
    if calibration.dtype != np.uint8:
        raise TypeError(
            "`calibration` must be uint8 pixel values 0 to 255. "
            f"Received: calibration.dtype={calibration.dtype}"
        )
    if calibration.shape[1:] != image_shape or not len(calibration):
        raise ValueError(
            f"`calibration` must be at least one image of {image_shape}. "
            f"Received: calibration.shape={calibration.shape}"
        )
    return calibration
