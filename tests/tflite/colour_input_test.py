import keras
import numpy as np
import pytest
from PIL import Image

from keras_distill import tflite
from keras_distill.device.embedder import Embedder
from keras_distill.tflite import with_colour_input
from keras_distill.tflite.graph import parse, read_graph, serialize
from tests import tiny_embedder


@pytest.mark.parametrize("mode", tflite.MODES)
def test_a_grey_image_in_three_channels_embeds_bit_for_bit_as_in_one(mode):
    images, _ = tiny_embedder.images()
    model = tiny_embedder.converted(mode)
    every_grey = np.arange(256, dtype=np.uint8).repeat(4).reshape(1, 32, 32, 1)
    images = np.concatenate([images, every_grey])
    colour = Embedder(with_colour_input(model))
    assert colour.image_shape == (32, 32, 3)
    np.testing.assert_array_equal(
        colour.embed(images.repeat(3, axis=-1)), Embedder(model).embed(images)
    )


def test_a_colour_image_embeds_as_pillow_makes_it_grey():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    grey = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    model = tiny_embedder.converted("int8")
    np.testing.assert_array_equal(
        Embedder(with_colour_input(model)).embed(images),
        Embedder(model).embed(np.stack(grey)[..., None]),
    )


def test_the_graph_stays_one_that_the_oldest_runtime_takes():
    graph = read_graph(with_colour_input(tiny_embedder.converted("int8")))
    assert [op.name for op in graph.operators[:3]] == ["CAST", "CONV_2D", "FLOOR"]
    assert {op.version for op in graph.operators[:3]} == {1}
    ((sides),) = graph.signatures.values()
    assert sides["inputs"]["image"].shape == (1, 32, 32, 3)
    assert sides["outputs"]["embedding"].shape == (1, 16)


def test_a_colour_model_is_left_alone():
    model = with_colour_input(tiny_embedder.converted("int8"))
    assert with_colour_input(model) is model


def test_refuses_other_numbers_of_channels():
    student = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.UnitNormalization(),
        ]
    )
    with pytest.raises(ValueError, match=r"1 or 3.*Received: inputs.*\(1, 8, 8, 2\)"):
        with_colour_input(tflite.convert(student))


def test_refuses_a_grey_model_that_does_not_begin_with_a_cast():
    parsed = parse(tiny_embedder.converted())
    (graph,) = parsed.subgraphs
    graph.operators[0].inputs = np.array([graph.outputs[0]], np.int32)
    with pytest.raises(ValueError, match="casts to float first. Received: inputs"):
        with_colour_input(serialize(parsed))
