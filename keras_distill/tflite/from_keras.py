"""From any Keras network of one image to the bytes of a .tflite."""

import tempfile

import keras
import numpy as np

from keras_distill.device.quiet import without_chatter
from keras_distill.tflite.graph import parse, serialize
from keras_distill.tflite.quantize import quantize_trunk, quantize_weights

SIGNATURE, INPUT, OUTPUT = "embed", "image", "embedding"
MODES = ("float32", "float16", "dynamic", "int8", "int8-qat")


def from_keras(network, mode, calibration, signature, output, float_head=False):
    """Converts a network whose shapes `image_network` has checked.

    Args:
        network: Built `keras.Model` from images to rows. With layers in half
            precision it is converted in float32.
        mode: One of `MODES`; `"int8-qat"` is `"int8"` here: the network has been
            trained for it.
        calibration: uint8 array `(count, height, width, channels)`, for `"int8"`.
        signature: String, the name of the only signature.
        output: String, the name of its only output; None where the network gives a
            dictionary of outputs, which keep their names. Its input is `INPUT`.
        float_head: See `quantize_trunk`.

    Returns:
        Bytes; the same network gives the same.

    Raises:
        ValueError: If `mode` is unknown, or `calibration` is missing or of another
            shape than the network's images.
        TypeError: If `calibration` is not uint8.
    """
    check_mode(mode)
    image_shape = network.input_shape[1:]
    if mode.startswith("int8"):
        calibration = check_calibration(calibration, image_shape, mode)
    model = _convert_float(
        _in_float32(network), image_shape, signature, output, mode == "float16"
    )
    if mode == "dynamic":
        return quantize_weights(model)
    if mode.startswith("int8"):
        return quantize_trunk(model, calibration, float_head)
    return model


def check_mode(mode, modes=MODES):
    """Raises ValueError if `mode` is none of `modes`."""
    if mode not in modes:
        raise ValueError(
            f"`mode` must be one of {', '.join(map(repr, modes))}. "
            f"Received: mode={mode!r}"
        )


def check_images(images):
    """`images` as an array; raises ValueError if there is none to compare on."""
    images = np.asarray(images)
    if not len(images):
        raise ValueError(
            "`images` must be at least one image to compare on. "
            f"Received: images.shape={images.shape}"
        )
    return images


def check_calibration(calibration, image_shape, mode):
    """`calibration` as an array, checked to be uint8 images of `image_shape`."""
    if calibration is None:
        raise ValueError(
            f"`calibration` is needed by mode={mode!r}: real training images, uint8. "
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


def image_network(network, name, gives, dim=None):
    """Checks that a network takes one batch of images and gives a row for each.

    Args:
        network: What should be such a `keras.Model`.
        name: String, the argument that it came as.
        gives: String, what a row is, for the message.
        dim: Width of a row, or `None` for any.

    Returns:
        `network`.

    Raises:
        TypeError: If it is no `keras.Model`.
        ValueError: If its shapes are others, or not all known but the batch.
    """
    if not isinstance(network, keras.Model):
        raise TypeError(f"`{name}` must be a keras.Model. Received: {name}={network!r}")
    taken, given = (
        getattr(network, side, None) for side in ("input_shape", "output_shape")
    )
    if (
        not _is_known(taken, rank=4)
        or not _is_known(given, rank=2)
        or dim not in (None, given[1])
    ):
        raise ValueError(
            f"`{name}` must take one batch of images (batch, height, width, channels) "
            f"and give one of {gives}, all sizes but the batch known. "
            f"Received: input_shape={taken}, output_shape={given}"
        )
    return network


def keras_rows(network, images, batch_size=256):
    """What the Keras network itself gives for uint8 images, float32 `(count, dim)`."""
    rows = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size].astype("float32")
        rows.append(keras.ops.convert_to_numpy(network(batch, training=False)))
    return np.concatenate(rows).astype(np.float32)


def _convert_float(network, image_shape, signature, output, half):
    import tensorflow as tf

    def endpoint(image):
        given = network(tf.cast(image, tf.float32), training=False)
        return given if output is None else {output: given}

    image = tf.TensorSpec((1, *image_shape), tf.uint8, name=INPUT)
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint(signature, endpoint, input_signature=[image])
    with tempfile.TemporaryDirectory() as folder, without_chatter():
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=[signature]
        )
        if half:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        return serialize(parse(converter.convert()))


def _is_known(shape, rank):
    return isinstance(shape, tuple) and len(shape) == rank and None not in shape[1:]


def _in_float32(network):
    """The same network with every layer in float32; itself if it is so already."""
    if all(layer.compute_dtype == "float32" for layer in _layers(network)):
        return network
    config = keras.saving.serialize_keras_object(network)
    twin = keras.saving.deserialize_keras_object(_float32_policies(config))
    twin.set_weights(network.get_weights())
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
