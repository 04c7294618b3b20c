"""Each check is shown a file with the fault that it is for."""

import warnings

import flatbuffers
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_distill import tflite
from keras_distill.device.quiet import without_chatter
from keras_distill.layers import L2Normalization
from keras_distill.tflite.file_checks import normalizations
from keras_distill.tflite.graph import parse, serialize
from keras_distill.tflite.quantize import activation_ranges
from keras_distill.tflite.structure import KINDS, RATIO_FROM_BYTES
from tests import tiny_embedder


@pytest.fixture(scope="module")
def images():
    return tiny_embedder.images()[0]


def refused(check, message, model, *args, student=None, **kwargs):
    student = student or tiny_embedder.student()
    with pytest.raises(tflite.VerificationError, match=message) as caught:
        tflite.verify(model, student, *args, **kwargs)
    assert caught.value.check == check


def quantized(model, images, inline=True, **granularity):
    """The float `model` by ai-edge-quantizer, with settings that we do not use."""
    from ai_edge_quantizer import quantizer

    worker = quantizer.Quantizer(bytearray(model))
    for operator, value in granularity.items():
        if len(images):
            worker.add_static_config(".*", operator, 8, 8, value)
        else:
            worker.add_dynamic_config(".*", operator, 8, value)
    with without_chatter(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*experimental_preserve_all_tensors.*")
        result = worker.quantize(
            activation_ranges(model, images) if len(images) else None,
            enable_progress_bar=False,
            enable_progress_report=False,
        )
    written = bytes(result.quantized_model)
    return serialize(parse(written)) if inline else written


@pytest.mark.parametrize("backbone", ["separable", "conv4"])
def test_good_files_pass_with_their_figures(images, backbone):
    student = tiny_embedder.student(backbone)
    float_model = tiny_embedder.converted("float32", backbone)
    int8_model = tiny_embedder.converted("int8", backbone)
    exact = tflite.verify(float_model, student, images)
    near = tflite.verify(int8_model, student, images, "int8", reference=float_model)
    assert exact["cosine_min"] > 1 - 1e-9 > near["cosine_mean"] > near["cosine_min"]
    assert near["bytes"] / exact["bytes"] < 0.4
    assert exact["images"] == near["images"] == len(images)
    assert "QUANTIZE" in near["operators"] and "QUANTIZE" not in exact["operators"]


def test_buffers__constants_that_the_quantizer_leaves_behind_the_flatbuffer(images):
    inputs = keras.Input(tiny_embedder.IMAGE_SHAPE)
    x = layers.Flatten()(layers.AveragePooling2D(2)(layers.Rescaling(1 / 255)(inputs)))
    student = keras.Model(inputs, L2Normalization()(layers.Dense(1024)(x)))
    ours = tflite.convert(student, "dynamic")
    theirs = quantized(
        tflite.convert(student), [], inline=False, FULLY_CONNECTED="TENSORWISE"
    )
    message = f"1 constants of {16 * 16 * 1024} bytes behind it"
    refused("buffers", message, theirs, images, "dynamic", student=student)
    tflite.verify(ours, student, images, "dynamic")
    # Nothing else is wrong with it, but that a writer of metadata would cut it.
    assert serialize(parse(theirs)) == ours


def with_metadata(model, mean, std):
    """`model` that tells clients to normalise pixels, as the Task Library writes it."""
    from ai_edge_litert.schema_py_generated import BufferT, MetadataT

    build = flatbuffers.Builder(256)

    def floats(values):
        build.StartVector(4, len(values), 4)
        for value in reversed(values):
            build.PrependFloat32(value)
        return build.EndVector()

    def table(slots, offsets):
        build.StartObject(slots)
        for slot, offset in offsets.items():
            build.PrependUOffsetTRelativeSlot(slot, offset, 0)
        return build.EndObject()

    def vector(offset):
        build.StartVector(4, 1, 4)
        build.PrependUOffsetTRelative(offset)
        return build.EndVector()

    options = table(2, {0: floats(mean), 1: floats(std)})
    build.StartObject(2)
    build.PrependUint8Slot(0, 1, 0)  # the kind of options: normalisation
    build.PrependUOffsetTRelativeSlot(1, options, 0)
    image = table(7, {4: vector(build.EndObject())})
    subgraph = table(4, {2: vector(image)})
    build.Finish(table(8, {3: vector(subgraph)}), b"M001")
    parsed = parse(model)
    buffer, entry = BufferT(), MetadataT()
    buffer.data = np.frombuffer(bytes(build.Output()), np.uint8)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(parsed.buffers)
    parsed.buffers.append(buffer)
    parsed.metadata = [*(parsed.metadata or []), entry]
    return serialize(parsed)


def test_normalisation__a_second_one_by_metadata(images):
    model, student = tiny_embedder.converted("int8"), tiny_embedder.student()
    doubled = with_metadata(model, [127.5], [127.5])
    assert normalizations(doubled) == [([127.5], [127.5])]
    refused("normalisation", r"mean \[127.5\], sta", doubled, images, "int8")
    half = with_metadata(model, [0.0] * 3, [1.0, 1.0, 2.0])
    refused("normalisation", r"deviation \[1.0, 1.0, 2.0\]", half, images, "int8")
    tflite.verify(with_metadata(model, [0.0], [1.0]), student, images, "int8")


def test_normalisation__metadata_that_cannot_be_read(images):
    parsed = parse(with_metadata(tiny_embedder.converted(), [0.0], [1.0]))
    content = parsed.buffers[parsed.metadata[-1].buffer]
    content.data = content.data.copy()
    content.data[:4] = 255
    refused("normalisation", "must be a flatbuffer", serialize(parsed), images)


def test_operators__a_graph_without_its_weights():
    """What `from_concrete_functions` makes of a Keras 3 model, with no word."""
    student = tiny_embedder.student()
    spec = tf.TensorSpec((1, *tiny_embedder.IMAGE_SHAPE), tf.uint8, name="image")
    embed = tf.function(
        lambda image: {"embedding": student(tf.cast(image, tf.float32))},
        input_signature=[spec],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [embed.get_concrete_function()], student
    )
    with without_chatter():
        model = converter.convert()
    refused("operators", "VAR_HANDLE", model, np.zeros((1, 32, 32, 1), np.uint8))


def with_operator(model, name, **changes):
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    parsed = parse(model)
    number = getattr(BuiltinOperator, name)
    (code,) = (c for c in parsed.operatorCodes if c.builtinCode == number)
    for key, value in changes.items():
        setattr(code, key, value)
    return serialize(parsed)


def test_operators__one_that_only_tensorflow_has(images):
    model = with_operator(
        tiny_embedder.converted(),
        "L2_NORMALIZATION",
        builtinCode=32,
        deprecatedBuiltinCode=32,
        customCode=b"FlexErf",
    )
    refused("operators", "Received: operators CUSTOM:FlexErf", model, images)


def test_versions__one_newer_than_the_oldest_runtime(images):
    model = with_operator(tiny_embedder.converted(), "FULLY_CONNECTED", version=12)
    message = r"FULLY_CONNECTED version 12 \(newest: 10\)"
    refused("versions", message, model, images)


def test_signature__names_types_and_sizes(images):
    parsed = parse(tiny_embedder.converted())
    parsed.signatureDefs[0].outputs[0].name = b"output_0"
    refused("signature", "'embedding'.*Received.*'output_0'", serialize(parsed), images)
    wider = keras.Sequential([tiny_embedder.student(), layers.Dense(17)])
    refused(
        "signature",
        r"\(1, 17\).*Received.*\(1, 16\)",
        tiny_embedder.converted(),
        images,
        student=wider,
    )


def test_signature__pixels_of_another_type(images):
    """int8 pixels are what phones and browsers have not and refuse."""
    from ai_edge_litert.schema_py_generated import TensorType

    parsed = parse(tiny_embedder.converted())
    (graph,) = parsed.subgraphs
    graph.tensors[graph.inputs[0]].type = TensorType.INT8
    refused("signature", "'UINT8'.*Received.*'INT8'", serialize(parsed), images)


def test_hybrid__float_data_and_weights_of_several_scales(images):
    model = quantized(tiny_embedder.converted(), [], FULLY_CONNECTED="CHANNELWISE")
    refused("hybrid", "must have one scale.*16 scales", model, images, "int8")


def test_depthwise__one_scale_for_all_channels(images):
    model = quantized(
        tiny_embedder.converted(), images[:5], DEPTHWISE_CONV_2D="TENSORWISE"
    )
    refused("depthwise", "with 1 scales for 32 channels", model, images, "int8")


def test_quantised__left_in_float(images):
    model = tiny_embedder.converted()
    refused("quantised", "10 of 10 do not.*FLOAT32", model, images, "int8")
    model = quantized(
        model, images[:5], CONV_2D="CHANNELWISE", DEPTHWISE_CONV_2D="CHANNELWISE"
    )
    refused("quantised", "1 of 10 do not.*FULLY_CONNECTED", model, images, "int8")


@pytest.mark.parametrize("mode", tflite.MODES)
def test_quantised__as_another_mode_than_it_should_be(images, mode):
    for other in (name for name in KINDS if KINDS[name] != KINDS[mode]):
        message = f"as {other}. Received: 10 of 10 do not"
        refused("quantised", message, tiny_embedder.converted(mode), images, other)


def test_weights__those_of_a_smaller_student(images):
    inputs = keras.Input(tiny_embedder.IMAGE_SHAPE)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3)(inputs))
    model = tflite.convert(keras.Model(inputs, L2Normalization()(x)))
    refused("weights", "must hold.*Received: [0-9]+ bytes", model, images)


def test_ratio__hardly_smaller_than_the_float_file(images):
    model, float_model = tiny_embedder.converted("int8"), tiny_embedder.converted()
    sizes = dict(mode="int8", reference=float_model)
    message = f"at most 0.20.*{len(model)} of {len(float_model)} bytes, 0.3"
    refused("ratio", message, model, images, **sizes, max_ratio=0.2)
    tflite.verify(model, tiny_embedder.student(), images, **sizes)
    # Names and scales outweigh the weights of a very small file: not compared.
    small = float_model[: RATIO_FROM_BYTES - 1]
    sizes["reference"] = small
    tflite.verify(model, tiny_embedder.student(), images, **sizes, max_ratio=0.2)


def changed(bias=None, unit=True):
    """A small student with another bias in its last layer, or without unit rows."""
    inputs = keras.Input(tiny_embedder.IMAGE_SHAPE)
    x = layers.Conv2D(8, 3, strides=2)(layers.Rescaling(1 / 255)(inputs))
    last = layers.Dense(16)
    x = last(layers.GlobalAveragePooling2D()(x))
    if bias is not None:
        last.bias.assign(np.full(16, bias))
    return keras.Model(inputs, L2Normalization()(x) if unit else x)


def test_finite__a_student_that_training_broke(images):
    student = changed(bias=np.nan)
    message = f"NaN or infinity in those of {len(images)} of {len(images)}"
    refused("finite", message, tflite.convert(student), images, student=student)


def test_norm__rows_that_were_never_normalised(images):
    student = changed(bias=7.0, unit=False)
    message = r"length 1 within 0.001.*lengths 2[0-9]\."
    refused("norm", message, tflite.convert(student), images, student=student)


def test_norm__lengths_that_drift_in_8_bits(images):
    """A fully int8 file with Keras's own layer: directions survive, lengths do not."""
    inputs = keras.Input(tiny_embedder.IMAGE_SHAPE)
    trunk = keras.Model(
        tiny_embedder.student().inputs,
        tiny_embedder.student().get_layer("projection").output,
    )
    student = keras.Model(inputs, layers.UnitNormalization()(trunk(inputs)))
    kinds = ["CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN"]
    kinds += ["SUM", "RSQRT", "MUL"]
    model = quantized(
        tflite.convert(student),
        tiny_embedder.calibration(),
        **{kind: "CHANNELWISE" for kind in kinds},
    )
    refused("norm", "length 1 within", model, images, "int8", student=student)
    tflite.verify(
        tflite.convert(student, "int8", tiny_embedder.calibration()),
        student,
        images,
        "int8",
    )


def test_cosine__pixels_that_are_normalised_twice(images):
    student, twice = tiny_embedder.student(), keras.Input(tiny_embedder.IMAGE_SHAPE)
    scaled = layers.Rescaling(1 / 127.5, offset=-1.0)(twice)
    model = tflite.convert(keras.Model(twice, student(scaled)))
    refused("cosine", "Received: mean 0", model, images)


def test_cosine__calibrated_on_no_real_image(images):
    black = np.zeros((20, 32, 32, 1), np.uint8)
    model = tflite.convert(tiny_embedder.student(), "int8", black)
    message = r"at least 0.999 on average.*Received: mean 0\.[0-9]+, least"
    refused("cosine", message, model, images, "int8")


def test_cosine__limits_are_the_callers(images):
    model, student = tiny_embedder.converted("int8"), tiny_embedder.student()
    message = "at least 0.999999 on average and 0.9 at worst"
    limits = dict(min_cosine_mean=0.999999, min_cosine=0.9)
    refused("cosine", message, model, images, "int8", **limits)
    limits["min_cosine_mean"] = 0.99
    tflite.verify(model, student, images, "int8", **limits)


def test_every_check_is_seen_to_refuse():
    tests = {name for name in globals() if name.startswith("test_")}
    for check in tflite.CHECKS:
        assert any(name.startswith(f"test_{check}__") for name in tests), check


def test_refuses_and_says_what_it_got(images):
    model, student = tiny_embedder.converted(), tiny_embedder.student()
    with pytest.raises(ValueError, match="one of 'float32', 'float16'.*mode='int4'"):
        tflite.verify(model, student, images, mode="int4")
    with pytest.raises(ValueError, match=r"images.shape=\(0, 32, 32, 1\)"):
        tflite.verify(model, student, images[:0])
    with pytest.raises(ValueError, match="carry the mark 'TFL3'"):
        tflite.verify(b"no model", student, images)
