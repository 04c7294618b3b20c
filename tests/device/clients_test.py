"""Our files in the libraries that phones open them with, as these are published."""

import functools
import json
import sys

import numpy as np
import pytest

from keras_distill import device, tflite
from keras_distill.retrieval import Partitions, TaskIndex, partition, write_task_index
from tests import tiny_embedder
from tests.device import environments
from tests.device.environments import environment, run

MEDIAPIPE = """
import sys, numpy as np, mediapipe
from mediapipe.tasks.python import vision
from mediapipe.tasks.python.core.base_options import BaseOptions
model, images, out = sys.argv[1:]
options = vision.ImageEmbedderOptions(base_options=BaseOptions(model_asset_path=model))
with vision.ImageEmbedder.create_from_options(options) as embedder:
    rows = []
    for image in np.load(images):
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        rows.append(embedder.embed(image).embeddings[0].embedding)
np.save(out, rows)
"""
SUPPORT = """
import sys, numpy as np
from tflite_support.task import vision
model, images, out = sys.argv[1:]
embedder = vision.ImageEmbedder.create_from_file(model)
rows = []
for image in np.load(images):
    found = embedder.embed(vision.TensorImage.create_from_array(image))
    rows.append(found.embeddings[0].feature_vector.value)
np.save(out, rows)
"""
SEARCHER = """
import json, sys, numpy as np
from tflite_support.task import core, processor, vision
model, images, k = sys.argv[1:]
searcher = vision.ImageSearcher.create_from_options(
    vision.ImageSearcherOptions(
        core.BaseOptions(file_name=model),
        processor.EmbeddingOptions(),
        processor.SearchOptions(max_results=int(k)),
    )
)
found = []
for image in np.load(images):
    image = vision.TensorImage.create_from_array(image)
    neighbours = searcher.search(image).nearest_neighbors
    found.append([[bytes(n.metadata).decode(), -n.distance] for n in neighbours])
print(json.dumps([searcher.get_user_info(), found]))
"""
METADATA = """
import json, sys
from tensorflow_lite_support.metadata.cc.python import _pywrap_metadata_version
from tflite_support import metadata, metadata_schema_py_generated as schema
model = open(sys.argv[1], "rb").read()
shown = metadata.MetadataDisplayer.with_model_buffer(model)
buffer = shown.get_metadata_buffer()
names = shown.get_packed_associated_file_list()
print(json.dumps([
    json.loads(shown.get_metadata_json()),
    _pywrap_metadata_version.GetMinimumMetadataParserVersion(bytes(buffer)),
    {name: len(shown.get_associated_file_buffer(name)) for name in names},
]))
"""
BUILDER = """
import json, sys, numpy as np
from tensorflow_lite_support.scann_ondevice.cc.core import serialized_searcher_pb2
from tensorflow_lite_support.scann_ondevice.cc.python import index_builder
with np.load(sys.argv[1]) as file:
    given = dict(file)
dot = serialized_searcher_pb2.DOT_PRODUCT
config = serialized_searcher_pb2.ScannOnDeviceConfig(query_distance=dot)
config.partitioner.query_distance = dot
config.partitioner.search_fraction = float(given["fraction"])
for centroid in given["centroids"]:
    config.partitioner.leaf.add(dimension=centroid)
rows = given["rows"]
index = index_builder.create_serialized_index_file(
    rows.shape[1],
    config.SerializeToString(),
    "made by nobody",
    given["assignment"].astype(np.uint32),
    given["ids"].tolist(),
    False,
    None,
    rows.ravel(),
)
open(sys.argv[2], "wb").write(index)
"""
EMBEDDERS = {"mediapipe": MEDIAPIPE, "tflite-support": SUPPORT}


@functools.cache
def colour_images():
    """The tiny embedder's images as a phone gives them."""
    return tiny_embedder.images()[0].repeat(3, axis=-1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    file = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(file, colour_images())
    return file


@pytest.fixture(scope="module")
def searcher():
    """What `write_bundle` wrote for the Task Library."""
    return tiny_embedder.bundle() / "task_searcher.tflite"


def embedded_by(client, model, images, tmp_path):
    program = EMBEDDERS[client]
    run(environment(client), "-c", program, model, images, tmp_path / "rows.npy")
    return np.load(tmp_path / "rows.npy")


@pytest.mark.parametrize("client", EMBEDDERS)
def test_their_embedders_embed_as_ours_does(client, searcher, images, tmp_path):
    rows = embedded_by(client, searcher, images, tmp_path)
    ours = device.Embedder(searcher.read_bytes()).embed(colour_images())
    assert rows.shape == (120, 16)
    # Doubled normalisation, the fault of wrong metadata, is at a cosine of 0.3.
    assert np.sum(rows * ours, axis=1).min() > 0.9995
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("client", EMBEDDERS)
def test_they_take_the_float_file_with_metadata(client, images, tmp_path):
    model = tflite.with_colour_input(tiny_embedder.converted("float32"))
    (tmp_path / "f32.tflite").write_bytes(tflite.add_metadata(model, "tiny"))
    rows = embedded_by(client, tmp_path / "f32.tflite", images, tmp_path)
    ours = device.Embedder(model).embed(colour_images())
    np.testing.assert_allclose(rows, ours, atol=1e-5)


@pytest.mark.parametrize("client", EMBEDDERS)
def test_they_refuse_a_file_of_one_channel_which_is_why_there_is_another(
    client, images, tmp_path
):
    command = ["-c", EMBEDDERS[client], tiny_embedder.bundle() / "embed_int8.tflite"]
    with pytest.raises(AssertionError, match="Only RGB color space is supported"):
        run(environment(client), *command, images, tmp_path / "rows.npy")


def test_their_reader_shows_the_metadata_that_were_written(searcher):
    python = environment("tflite-support")
    shown, version, files = json.loads(run(python, "-c", METADATA, searcher))
    index = tflite.read_files(searcher.read_bytes())["scann_index.ldb"]
    assert files == {"scann_index.ldb": len(index)}
    # The oldest parser that they think is needed is the one that the file names.
    assert shown["min_parser_version"] == version == "1.4.0"
    (graph,) = shown["subgraph_metadata"]
    (image,), (output,) = (
        graph[f"{side}_tensor_metadata"] for side in ("input", "output")
    )
    assert image["content"] == {
        "content_properties_type": "ImageProperties",
        "content_properties": {
            "color_space": "RGB",
            "default_size": {"width": 32, "height": 32},
        },
    }
    assert image["stats"] == {"max": [255.0], "min": [0.0]}
    assert "process_units" not in image
    assert output["content"]["content_properties_type"] == "FeatureProperties"
    assert output["associated_files"] == [
        {"name": "scann_index.ldb", "type": "SCANN_INDEX_FILE"}
    ]


def searched(model, images, k):
    """The user info, and of each image the ids and scores that ImageSearcher finds."""
    python = environment("tflite-support")
    info, found = json.loads(run(python, "-c", SEARCHER, model, images, k))
    ids = [[name for name, _ in row] for row in found]
    return info, ids, [[score for _, score in row] for row in found]


def test_the_searcher_finds_in_the_file_what_we_find(searcher, images, tmp_path):
    info, ids, scores = searched(searcher, images, 10)
    assert json.loads(info)["images"] == 120
    # Its own embeddings, for the runtime inside it is another one: int8 differs.
    rows = embedded_by("tflite-support", searcher, images, tmp_path)
    index = TaskIndex(tflite.read_files(searcher.read_bytes())["scann_index.ldb"])
    best, ours = index.search(rows, 10)
    np.testing.assert_allclose(scores, best, atol=1e-5)
    assert ids == ours  # recall 1.0, and in the same order
    here, _ = device.open_bundle(tiny_embedder.bundle()).search(
        tiny_embedder.images()[0], 10
    )
    overlaps = [len({*a} & {*b}) / 10 for a, b in zip(ids, here, strict=True)]
    assert np.mean(overlaps) > 0.98
    assert np.mean([a[0] == b[0] for a, b in zip(ids, here, strict=True)]) > 0.98


def test_the_searcher_looks_into_the_parts_of_a_tree_as_we_do(images, tmp_path):
    model = tiny_embedder.converted("int8")
    rows = device.Embedder(model).embed(tiny_embedder.images()[0])
    rng = np.random.default_rng(0)
    noise = 0.15 * rng.normal(size=(24, *rows.shape))
    many = np.concatenate([rows, (rows + noise).reshape(-1, 16)]).astype(np.float32)
    many /= np.linalg.norm(many, axis=1, keepdims=True)
    names = [f"{row}" for row in range(len(many))]
    parts = partition(many, recall=0.95)
    assert 1 <= parts.searched < len(parts.centroids) == 55
    index = write_task_index(many, names, parts)
    file = tmp_path / "tree.tflite"
    model = tflite.with_colour_input(model)
    file.write_bytes(tflite.add_metadata(model, "tree", index=("index", index)))
    _, ids, scores = searched(file, images, 10)
    own = embedded_by("tflite-support", file, images, tmp_path)
    best, ours = TaskIndex(index).search(own, 10)
    np.testing.assert_allclose(scores, best, atol=1e-5)
    assert ids == ours
    true = [[names[i] for i in np.argsort(-(many @ row))[:10]] for row in own]
    found = [len({*a} & {*b}) / 10 for a, b in zip(ids, true, strict=True)]
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("parts, searched", [(1, 1), (3, 1), (25, 7)])
def test_our_index_is_that_of_their_builder_byte_for_byte(parts, searched, tmp_path):
    rng = np.random.default_rng(parts)
    rows = rng.normal(size=(1500, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    names = [f"klasse {row % 17}/Bild ä{row}.png" for row in range(1500)]
    # Some parts are empty: all rows are in the first two thirds.
    assignment = rng.integers(0, (2 * parts + 2) // 3, 1500)
    made = Partitions(rows[:parts], assignment, searched)
    np.savez(
        tmp_path / "given.npz",
        rows=rows,
        ids=np.array(names),
        centroids=made.centroids,
        assignment=assignment,
        fraction=(searched - 0.5) / parts,
    )
    python = environment("tflite-support")
    run(python, "-c", BUILDER, tmp_path / "given.npz", tmp_path / "theirs")
    theirs = (tmp_path / "theirs").read_bytes()
    assert write_task_index(rows, names, made, "made by nobody") == theirs


def test_a_library_of_the_system_that_is_missing_is_named(monkeypatch):
    program = "raise OSError('libusb-1.0.so.0: cannot open shared object file')"
    wanted = {"tflite-support": (program, "libusb-1.0-0")}
    monkeypatch.setattr(environments, "LOADS", wanted)
    with pytest.raises(
        pytest.skip.Exception, match="apt-get install libusb-1.0-0: OSE"
    ):
        environments._loaded("tflite-support", sys.executable)
    wanted["tflite-support"] = ("import a_module_that_is_not_there", "libusb-1.0-0")
    with pytest.raises(AssertionError, match="ModuleNotFoundError"):
        environments._loaded("tflite-support", sys.executable)
