"""The device part where it belongs: with one runtime and numpy, no TensorFlow."""

import base64
import json

import flatbuffers
import keras
import numpy as np
import pytest
from PIL import Image

from keras_distill import device, models, tflite
from keras_distill.retrieval import RetrievalBudget, build_search_model, exact_search
from keras_distill.retrieval.inverted_lists import inverted_lists
from keras_distill.retrieval.runtime_stage import embed_elsewhere
from keras_distill.retrieval.search_graph import search_graph
from keras_distill.retrieval.search_model import search_recall
from keras_distill.tflite.op_versions import NEWEST_VERSION
from tests import tiny_embedder
from tests.device.environments import environment, run


def test_the_environment_holds_no_tensorflow_and_only_its_own_runtime(python, runtime):
    program = (
        "import importlib.util as u, json, keras_distill.device.runtime as r\n"
        "names = ['tensorflow', 'keras', 'scann', 'rich', 'ai_edge_litert']\n"
        "found = [n for n in names if u.find_spec(n)]\n"
        "print(json.dumps([found, r.find_runtime().name]))"
    )
    found, name = json.loads(run(python, "-c", program))
    assert name == runtime
    assert found == (["ai_edge_litert"] if runtime == "ai-edge-litert" else [])


def test_the_golden_images_embed_and_score_as_at_the_export(python, runtime):
    program = (
        "import json, sys, keras_distill.device as d\n"
        "print(json.dumps(d.open_bundle(sys.argv[1]).check_golden()))"
    )
    found = json.loads(run(python, "-c", program, tiny_embedder.bundle()))
    assert found["runtime"] == runtime and found["images"] == 32
    assert found["cosine_min"] >= 0.995
    assert found["score_difference"] <= 0.05
    assert found["top_1_same"] >= 0.9 and found["overlap_at_k"] >= 0.9
    assert found["search_cosine_min"] >= 0.995
    assert found["search_score_difference"] <= 2e-5
    assert found["search_overlap_at_k"] >= 0.9


def test_the_search_files_find_there_what_exact_search_finds(python, tmp_path):
    rows, images = catalogue_of(2000), tiny_embedder.images(seed=2)[0][:30]
    np.savez(tmp_path / "in.npz", images=images)
    embedder = tiny_embedder.converted("int8")
    lists = inverted_lists(rows, 20)
    for name, some in [("all", (None, None)), ("lists", (lists, 20))]:
        model = search_graph(embedder, rows, 10, 128, *some)
        (tmp_path / f"{name}.tflite").write_bytes(model)
    program = (
        "import sys, pathlib, numpy as np, keras_distill.device as d\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "images = np.load(folder / 'in.npz')['images']\n"
        "for name in ('all', 'lists'):\n"
        "    s = d.Searcher((folder / f'{name}.tflite').read_bytes())\n"
        "    scores, indices, embeddings = s.search(images, 2000)\n"
        "    np.savez(folder / name, s=scores, i=indices, e=embeddings)"
    )
    run(python, "-c", program, tmp_path)
    for name in ("all", "lists"):
        found = np.load(tmp_path / f"{name}.npz")
        scores = found["e"].astype(np.float64) @ rows.T.astype(np.float64)
        least = np.sort(scores, axis=1)[:, -10:].min(axis=1, keepdims=True)
        mine = np.take_along_axis(scores, found["i"], axis=1)
        np.testing.assert_allclose(found["s"], mine, atol=2e-5)
        assert np.all(mine >= least - 2e-5)  # recall 1, but for ties
        assert all(len({*row}) == 10 for row in found["i"].tolist())


@pytest.mark.slow
def test_a_search_file_of_100_000_rows_of_64_numbers_finds_all_of_them(
    python, tmp_path
):
    keras.utils.set_random_seed(0)
    student = models.embedder("separable", tiny_embedder.IMAGE_SHAPE, 64)
    calibration = tiny_embedder.calibration()
    embedder = tflite.convert(student, "int8", calibration)
    base = device.Embedder(embedder).embed(calibration)
    rng = np.random.default_rng(0)
    rows = base[rng.integers(0, len(base), 100_000)].astype(np.float32)
    rows += 0.02 * rng.standard_normal(rows.shape, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    made = build_search_model(embedder, rows, rows[:200])
    assert len(made.model) <= 13.5e6
    (tmp_path / "search.tflite").write_bytes(made.model)
    np.savez(tmp_path / "in.npz", images=tiny_embedder.images(seed=2)[0])
    program = (
        "import sys, pathlib, numpy as np, keras_distill.device as d\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "s = d.Searcher((folder / 'search.tflite').read_bytes())\n"
        "images = np.load(folder / 'in.npz')['images']\n"
        "scores, indices, embeddings = s.search(images, 100_000)\n"
        "np.savez(folder / 'out', i=indices, e=embeddings)"
    )
    run(python, "-c", program, tmp_path)
    found = np.load(tmp_path / "out.npz")
    assert search_recall(found["i"], found["e"], rows) == 1.0
    # In such a catalogue scores of neighbours differ in the sixth decimal place: of
    # the nearest ten ids nearly all are there, of what is not hardly less is the score.
    exact, true = exact_search(found["e"], rows, 10)
    pairs = zip(found["i"], true, strict=True)
    assert np.mean([len({*a} & {*b}) / 10 for a, b in pairs]) >= 0.995
    scores = np.einsum("qd,qkd->qk", found["e"], rows[found["i"]])
    assert (exact[:, -1:] - scores).max() < 5e-6


def catalogue_of(count):
    """Embeddings of the int8 file, and others around them."""
    base = device.open_bundle(tiny_embedder.bundle()).rows
    rng = np.random.default_rng(0)
    rows = base[rng.integers(0, len(base), count)]
    rows = rows + 0.05 * rng.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


LEAST_COSINES = {
    "float32": 0.999999,
    "float16": 0.99999,
    "dynamic": 0.999,
    "int8": 0.995,
    "int8-qat": 0.995,  # never less than int8
}


@pytest.mark.parametrize(
    "mode, backbone",
    [
        (mode, backbone)
        for mode in tflite.MODES
        for backbone in ("separable", "conv4")
        if (mode, backbone) != ("int8-qat", "conv4")  # costs a training
    ],
)
def test_every_mode_embeds_as_keras_does(python, backbone, mode, tmp_path):
    images, _ = tiny_embedder.images()
    images = images[::3]
    np.savez(tmp_path / "in.npz", images=images)
    file = tmp_path / "model.tflite"
    file.write_bytes(tiny_embedder.converted(mode, backbone))
    program = (
        "import sys, pathlib, numpy as np, keras_distill.device as d\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "e = d.Embedder((folder / 'model.tflite').read_bytes())\n"
        "np.save(folder / 'out.npy', e.embed(np.load(folder / 'in.npz')['images']))"
    )
    run(python, "-c", program, tmp_path)
    rows = np.load(tmp_path / "out.npy")
    student = tiny_embedder.student(backbone)
    expected = np.asarray(student(images.astype("float32"), training=False))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.sum(rows * expected, axis=1).min() > LEAST_COSINES[mode]


def test_a_runtime_is_a_stage_of_the_budget(python, runtime):
    catalogue, labels = tiny_embedder.catalogue(), tiny_embedder.images()[1]
    model = tiny_embedder.converted("int8")
    rows = device.Embedder(model).embed(tiny_embedder.images()[0])
    budget = RetrievalBudget(rows, labels)
    asked, about = embed_elsewhere(python, model, catalogue, budget.queries)
    stage = budget.add(runtime, budget.nearest(asked, rows), asked)
    assert about["runtime"] == runtime and about["milliseconds"] > 0
    if runtime == "ai-edge-litert":
        assert stage["overlap_at_10"] > 0.999
    else:  # other kernels, which round otherwise
        assert 0.9 < stage["overlap_at_10"] < 0.9999 and stage["cosine_min"] > 0.995


def test_the_search_program_answers_there(python, tmp_path):
    images, _ = tiny_embedder.images()
    for row in (5, 60):
        Image.fromarray(images[row, ..., 0]).save(tmp_path / f"{row}.png")
    files = [tmp_path / "5.png", tmp_path / "60.png"]
    command = ["-m", "export.search", tiny_embedder.bundle(), *files, "--k", "3"]
    results = json.loads(run(python, *command, "--json"))
    here, scores = device.open_bundle(tiny_embedder.bundle()).search(images[[5, 60]], 3)
    for result, file, row, ids, best in zip(
        results, files, (5, 60), here, scores, strict=True
    ):
        assert result["image"] == str(file)
        first = result["neighbours"][0]
        assert first["class"] == tiny_embedder.catalogue().ids[row].split("/")[0]
        assert len(result["neighbours"]) == 3
        assert first["score"] == pytest.approx(best[0], abs=0.05)
        assert ids[0].split("/")[0] == first["class"]
    # Without rich it prints a plain table.
    lines = run(python, *command).splitlines()
    assert lines[0] == str(files[0]) and len(lines) == 8
    assert lines[1].split()[0] == "1" and lines[1].split()[2] == "yes"
    assert lines[1].split()[3].startswith("pattern")


def test_the_table_of_versions_is_what_the_oldest_runtime_takes(tmp_path):
    python = environment("tflite-runtime")
    models = {
        f"{name} {version}": base64.b64encode(one_operator(name, version)).decode()
        for name, newest in NEWEST_VERSION.items()
        for version in (newest, newest + 1)
    }
    (tmp_path / "models.json").write_text(json.dumps(models))
    program = (
        "import base64, json, sys\n"
        "from tflite_runtime.interpreter import Interpreter\n"
        "taken = []\n"
        "for name, model in json.load(open(sys.argv[1])).items():\n"
        "    try:\n"
        "        Interpreter(model_content=base64.b64decode(model))\n"
        "        taken.append(name)\n"
        "    except ValueError as error:\n"
        '        assert "Didn\'t find op" in str(error), error\n'
        "print(json.dumps(taken))"
    )
    taken = json.loads(run(python, "-c", program, tmp_path / "models.json"))
    assert taken == [f"{name} {newest}" for name, newest in NEWEST_VERSION.items()]


def one_operator(name, version):
    """A .tflite that names one operator of one version, and does not use it."""
    from ai_edge_litert import schema_py_generated as schema

    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = version
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [], [], []
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, [code]
    model.buffers, model.subgraphs = [schema.BufferT()], [graph]
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
