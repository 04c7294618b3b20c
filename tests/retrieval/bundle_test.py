import errno
import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np
import pytest

from keras_distill import device, metrics, tflite
from keras_distill.data.image_set import ImageSet
from keras_distill.device.nearest import nearest
from keras_distill.device.scann_folder import ScannFolder
from keras_distill.retrieval import (
    TaskIndex,
    bundle_manifest,
    catalogue_part,
    search_model,
    write_bundle,
)
from keras_distill.retrieval import bundle as writer
from keras_distill.version import __version__
from tests import tiny_embedder


@pytest.fixture(scope="module")
def manifest():
    return json.loads((tiny_embedder.bundle() / "manifest.json").read_text())


def write(out, **changes):
    arguments = {
        "student": tiny_embedder.student(),
        "calibration": tiny_embedder.calibration(),
        "catalogue": tiny_embedder.catalogue(),
    }
    return write_bundle(out, **{**arguments, **changes})


@pytest.fixture
def at_once(monkeypatch):
    """Converting takes seconds and is tested elsewhere."""
    done = {mode: tiny_embedder.converted(mode) for mode in writer.FILES}
    monkeypatch.setattr(tflite, "convert", lambda student, mode, _: done[mode])


def test_the_manifest_lists_every_file_with_its_sha256(manifest):
    folder = tiny_embedder.bundle()
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert {"embed_f32.tflite", "embed_int8.tflite", "golden.npz"} <= set(files)
    assert manifest["files"] == {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }


def test_the_manifest_says_what_goes_in_and_what_comes_out(manifest):
    assert manifest["format_version"] == 1
    assert manifest["signature"] == "embed"
    assert manifest["input"] == {
        "name": "image",
        "dtype": "uint8",
        "shape": [32, 32, 1],
        "range": [0, 255],
    }
    assert manifest["output"] == {
        "name": "embedding",
        "dtype": "float32",
        "dim": 16,
        "length": 1,
    }
    assert manifest["written_by"]["keras_distill"] == __version__
    assert manifest["recipe"] is None
    assert manifest["calibration"] == {"images": 120}


def test_the_figures_are_those_of_the_files(manifest):
    images, labels = tiny_embedder.images()
    by_keras, _ = metrics.embed(tiny_embedder.student(), (images, labels))
    recall = metrics.recall_at_k(by_keras, labels, 1)
    assert manifest["student"]["recall_at_1"] == pytest.approx(recall)
    for mode, facts in manifest["models"].items():
        model = (tiny_embedder.bundle() / facts["file"]).read_bytes()
        rows = device.Embedder(model).embed(images)
        cosines = np.sum(rows * by_keras, axis=1)
        assert facts["bytes"] == len(model)
        assert facts["cosine_mean"] == pytest.approx(cosines.mean(), abs=1e-6)
        assert facts["cosine_min"] == pytest.approx(cosines.min(), abs=1e-6)
        assert facts["recall_at_1"] == metrics.recall_at_k(rows, labels, 1)
        assert 0 < facts["milliseconds"] < 1000
        assert facts["operators"]["L2_NORMALIZATION"] == 1, mode
    assert manifest["models"]["int8"]["cosine_mean"] > 0.999


def test_the_catalogue_is_embedded_by_the_int8_file(manifest):
    images, _ = tiny_embedder.images()
    opened = device.open_bundle(tiny_embedder.bundle())
    np.testing.assert_allclose(opened.rows, opened.embed(images), atol=1e-6)
    assert manifest["catalogue"]["embedded_by"] == "embed_int8.tflite"
    assert manifest["catalogue"]["images"] == 120
    assert manifest["catalogue"]["classes"] == 24
    assert manifest["catalogue"]["index"] == "brute_force"
    if "scann" in manifest["catalogue"]["searchers"]:
        assert manifest["catalogue"]["scann_recall_at_10"] > 0.98


def test_the_search_file_is_there_with_what_was_measured_of_it(manifest):
    facts = manifest["search"]
    model = (tiny_embedder.bundle() / "search.tflite").read_bytes()
    assert facts["file"] == "search.tflite" and facts["bytes"] == len(model)
    assert facts["signature"] == "search" and facts["model"] == "int8"
    assert facts["outputs"] == {
        "ids": {"dtype": "int32", "shape": [1, 10]},
        "scores": {"dtype": "float32", "shape": [1, 10]},
        "embedding": {"dtype": "float32", "shape": [1, 16]},
    }
    assert facts["kind"] == "two_stage" and facts["recall"] >= 0.999
    # The two bytes of each number, and hardly more than the network.
    assert len(model) < manifest["models"]["int8"]["bytes"] + 2 * 120 * 16 + 8000


def test_thresholds_of_both_networks_are_there_side_by_side(manifest):
    thresholds = manifest["thresholds"]
    assert thresholds["false_match_rate"] == 0.01
    models = thresholds["models"]
    assert set(models) == {"int8", "float32", "float_catalogue"}
    for found in models.values():
        assert found["match"]["true_count"] == 24 * 5 * 4
        assert found["match"]["false_count"] == 120 * 115
        assert found["no_match"]["true_count"] == 120
        assert found["match"]["false_rate"] <= 0.01
    # What is accepted is what the device's own scores say.
    opened = device.open_bundle(tiny_embedder.bundle())
    images, labels = tiny_embedder.images()
    scores, rows = opened.nearest(images, 10)
    others = labels[rows] != labels[:, None]
    assert np.sum(opened.match(scores) & others) <= 0.01 * 120 * 115


def test_a_catalogue_too_small_for_thresholds_says_so_unless_they_are_asked_for(
    at_once, tmp_path
):
    few = tiny_embedder.catalogue().subset(range(40))
    manifest = write(tmp_path / "a", catalogue=few)
    assert manifest["thresholds"]["models"] == {}
    assert "at least 100 queries" in manifest["thresholds"]["refused"]
    with pytest.raises(ValueError, match="0.01 needs at least 100 queries.*40"):
        write(tmp_path / "b", catalogue=few, false_match_rate=0.01)
    assert not (tmp_path / "b").exists()
    manifest = write(tmp_path / "b", catalogue=few, false_match_rate=0.05)
    assert manifest["thresholds"]["false_match_rate"] == 0.05


def test_a_search_file_that_does_not_find_enough_is_not_written(
    at_once, monkeypatch, tmp_path
):
    monkeypatch.setattr(search_model, "search_recall", lambda *_: 0.9)
    with pytest.raises(tflite.VerificationError, match="0.999.*0.9000") as caught:
        write(tmp_path / "out")
    assert caught.value.check == "search" and not list(tmp_path.iterdir())


def test_the_golden_file_holds_images_with_their_neighbours(manifest):
    opened = device.open_bundle(tiny_embedder.bundle())
    with np.load(opened.path / "golden.npz", allow_pickle=False) as file:
        golden = dict(file)
    assert golden["images"].shape == (32, 32, 32, 1)
    assert golden["images"].dtype == np.uint8
    ids, scores = opened.search(golden["embeddings"], 5)
    assert ids == golden["ids"].tolist()
    np.testing.assert_allclose(scores, golden["scores"], atol=1e-6)
    assert manifest["golden"] == {"file": "golden.npz", "images": 32, "k": 5}


def test_without_scann_the_rows_are_there_for_numpy(at_once, monkeypatch, tmp_path):
    monkeypatch.setattr(bundle_manifest, "has_scann", lambda: False)
    monkeypatch.setattr(catalogue_part, "has_scann", lambda: False)
    manifest = write(tmp_path / "out")
    assert manifest["catalogue"]["searchers"] == ["numpy", "tflite"]
    assert "scann" not in manifest["written_by"]
    opened = device.open_bundle(tmp_path / "out")
    images, _ = tiny_embedder.images()
    assert opened.search(images[:3], 2)[0][1][0] == opened.ids[1]
    with pytest.raises(ValueError, match="no ScaNN index.*searcher='scann'"):
        opened.search(images[:3], 2, "scann")


def test_tells_how_far_it_is_and_keeps_the_recipe(at_once, tmp_path):
    recipe, steps = {"seed": 3, "arguments": {"dim": 16}}, []
    held_out = tiny_embedder.images(seed=2)[0][:40]
    manifest = write(
        tmp_path / "out",
        held_out=held_out,
        recipe=recipe,
        index="brute_force",
        progress=lambda *step: steps.append(step),
    )
    fingerprint = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
    assert manifest["recipe"] == {"fingerprint": fingerprint.hexdigest(), **recipe}
    assert manifest["models"]["int8"]["images"] == 40
    assert ("Embedding the catalogue", 120, 120) in steps
    ends = {what: done == total for what, done, total in steps}
    assert len(ends) >= 4 and all(ends.values())


def test_a_file_that_fails_a_check_is_not_written(at_once, tmp_path):
    with pytest.raises(tflite.VerificationError, match="Cosines") as caught:
        write(tmp_path / "out", min_cosine_mean=0.999999)
    assert caught.value.check == "cosine"
    with pytest.raises(tflite.VerificationError, match="at most 0.20 of the size"):
        write(tmp_path / "out", max_ratio=0.2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trained", [True, False])
def test_the_int8_file_may_be_that_of_a_student_trained_for_it(
    monkeypatch, tmp_path, trained
):
    student, other = tiny_embedder.student(), object()
    done, steps = [], []

    def quantization_aware(given, images, progress):
        assert given is student and len(images) == 120
        progress(7, 7)
        kept = other if trained else student
        return tflite.QuantizationAware(kept, trained, 0.5, 0.6, 96, 24)

    def convert(network, mode, calibration):
        done.append((network, mode))
        return tiny_embedder.converted(mode)

    monkeypatch.setattr(tflite, "quantization_aware", quantization_aware)
    monkeypatch.setattr(tflite, "convert", convert)
    manifest = write(
        tmp_path / "out", mode="int8-qat", progress=lambda *step: steps.append(step)
    )
    assert done == [(student, "float32"), (other if trained else student, "int8")]
    assert ("Training for int8", 7, 7) in steps
    assert manifest["models"]["int8"]["quantization_aware"] == {
        "trained": trained,
        "cosine_before": 0.5,
        "cosine_after": 0.6,
        "images": 96,
        "held_out": 24,
    }
    assert "quantization_aware" not in manifest["models"]["float32"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "trained for 8 bits on 96 training images" in page
    assert ("was not kept" not in page) is trained
    assert device.open_bundle(tmp_path / "out").check_golden()["top_1_same"] == 1.0


def test_a_mode_that_is_not_of_8_bits_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match="'int8', 'int8-qat'.*mode='float16'"):
        write(tmp_path / "out", student=None, mode="float16")


def test_every_stage_is_in_the_manifest_with_its_figures(manifest):
    images, labels = tiny_embedder.images()
    section = manifest["retrieval"]
    stages = {stage["name"]: stage for stage in section["stages"]}
    names = ["Keras", "float32", "int8", "float32 among int8"]
    names += ["int8, rows of search.tflite"]
    scann = "scann" in manifest["catalogue"]["searchers"]
    assert list(stages) == names + (["int8, ScaNN"] if scann else [])
    assert (section["queries"], section["max_drop"]) == (120, 0.5)
    opened = device.open_bundle(tiny_embedder.bundle())
    rows = opened.embed(images)
    for name in ("int8", "int8, ScaNN")[: 1 + scann]:
        stage = stages[name]
        assert stage["recall_at_1"] == metrics.recall_at_k(rows, labels, 1)
        assert stage["map_at_r"] == pytest.approx(metrics.map_at_r(rows, labels))
        assert 0.9 < stage["overlap_at_10"] < 1
        assert stage["milliseconds"] > 0
    by_float = device.open_bundle(opened.path, model="float32").embed(images)
    hits = 0
    for row, query in enumerate(by_float):
        scores = rows @ query
        scores[row] = -2
        hits += labels[scores.argmax()] == labels[row]
    assert stages["float32 among int8"]["recall_at_1"] == hits / 120
    assert stages["float32"]["overlap_at_10"] > 0.999


@pytest.mark.parametrize("spoilt", ["int8", "float32"])
def test_a_stage_that_loses_too_much_is_refused_and_nothing_is_written(
    at_once, monkeypatch, tmp_path, spoilt
):
    embedded = writer.embedded_rows

    def shuffled(*args):
        rows = embedded(*args)
        order = np.random.default_rng(0).permutation(120)
        return {**rows, spoilt: rows[spoilt][order]}

    monkeypatch.setattr(writer, "embedded_rows", shuffled)
    with pytest.raises(
        tflite.VerificationError, match=f"at most 12.00 .*at the stage '{spoilt}',"
    ) as caught:
        write(tmp_path / "out", max_drop=12)
    assert caught.value.check == "recall" and list(tmp_path.iterdir()) == []


def test_an_index_that_finds_too_little_is_refused(at_once, monkeypatch, tmp_path):
    pytest.importorskip("scann", reason="ScaNN is not installed here")

    def search(self, queries, k):
        return nearest(-queries, self.rows, k)

    monkeypatch.setattr(ScannFolder, "search", search)
    with pytest.raises(tflite.VerificationError, match="at the stage 'int8, ScaNN'"):
        write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_another_runtime_is_a_stage(at_once, tmp_path):
    """Here by the Python of these tests; `environments_test.py` has an old one."""
    manifest = write(tmp_path / "out", runtimes=[sys.executable])
    stages = {stage["name"]: stage for stage in manifest["retrieval"]["stages"]}
    (name,) = (n for n in stages if n.startswith("int8, ai-edge-litert"))
    assert stages[name]["recall_at_1"] == stages["int8"]["recall_at_1"]
    assert stages[name]["milliseconds"] > 0


def test_what_cannot_be_measured_is_said_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match="0 to 100. Received: max_drop=-1"):
        write(tmp_path / "out", student=None, max_drop=-1)
    with pytest.raises(ValueError, match="path of a Python.*Received: no/python"):
        write(tmp_path / "out", student=None, runtimes=["no/python"])


def test_a_full_disk_leaves_what_was_there(at_once, monkeypatch, tmp_path):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    out = shutil.copytree(tiny_embedder.bundle(), tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(catalogue_part.np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        write(out, overwrite=True)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "new")
    assert list(tmp_path.iterdir()) == [out]


def test_a_bundle_is_replaced_only_when_asked(at_once, tmp_path):
    out = shutil.copytree(tiny_embedder.bundle(), tmp_path / "out")
    (out / "old").touch()
    with pytest.raises(FileExistsError, match=f"exists already.*out={out}"):
        write(out)
    write(out, overwrite=True)
    assert not (out / "old").exists()
    assert device.open_bundle(out).check_golden()["cosine_min"] > 0.999


def test_what_is_no_bundle_is_never_replaced(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match=f"no bundle.*out={tmp_path}"):
        write(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="no bundle"):
        write(tmp_path / "letter.txt", overwrite=True)
    assert (tmp_path / "letter.txt").read_text() == "dear"


def test_refuses_a_catalogue_of_one_image(tmp_path):
    with pytest.raises(ValueError, match="at least two images. Received: catalogue=<"):
        write(tmp_path / "out", catalogue=tiny_embedder.catalogue().subset([0]))


def test_a_catalogue_of_two_images_works(at_once, tmp_path):
    out = pathlib.Path(tmp_path / "out")
    write(out, catalogue=tiny_embedder.catalogue().subset([0, 1]))
    assert len(device.open_bundle(out)) == 2


def test_thumbnails_and_synonyms_are_for_those_who_look(manifest, at_once, tmp_path):
    assert manifest["thumbnails"]["sheets"] == ["thumbnails/0000.png"]
    assert "thumbnails/0000.png" in manifest["files"]
    some = tiny_embedder.catalogue().subset(range(4))
    some.synonyms = {"pattern00": ("nothing", "noughts")}
    without = write(tmp_path / "a", catalogue=some, thumbnails=False, neighbours=2)
    assert "thumbnails" not in without and without["search"]["k"] == 2
    assert not (tmp_path / "a" / "thumbnails").exists()
    assert device.open_bundle(tmp_path / "a").synonyms == some.synonyms
    assert device.open_bundle(tiny_embedder.bundle()).synonyms == {}


def test_the_searcher_of_the_task_library_is_a_part_like_the_others(manifest):
    section = manifest["task_library"]
    model = (tiny_embedder.bundle() / section["file"]).read_bytes()
    assert section["file"] == "task_searcher.tflite"
    assert manifest["files"][section["file"]]["bytes"] == section["bytes"]
    assert section["embedding_difference"] == 0 and section["recall_at_10"] == 1
    opened = device.open_bundle(tiny_embedder.bundle())
    (index,) = tflite.read_files(model).values()
    index = TaskIndex(index)
    assert index.ids == list(opened.ids)
    np.testing.assert_array_equal(index.rows, opened.rows)
    images, _ = tiny_embedder.images()
    found = device.Embedder(model).embed(images.repeat(3, axis=-1))
    np.testing.assert_array_equal(found, opened.rows)


def test_without_asking_there_is_no_searcher_of_the_task_library(at_once, tmp_path):
    manifest = write(tmp_path / "out")
    assert "task_library" not in manifest
    assert not (tmp_path / "out" / "task_searcher.tflite").exists()


def test_ids_that_the_task_library_cannot_hold_are_refused_at_first(
    monkeypatch, tmp_path
):
    monkeypatch.delattr(tflite, "convert")
    images, labels = tiny_embedder.images()
    ids = [f"{row}" for row in range(119)] + ["\udcff.png"]
    catalogue = ImageSet(images, labels, ids=ids)
    with pytest.raises(ValueError, match=r"written as UTF-8.*udcff.png"):
        write(tmp_path / "out", catalogue=catalogue, task_library=True)
    assert list(tmp_path.iterdir()) == []


def test_both_embedders_say_what_they_take_and_give(manifest):
    for facts in manifest["models"].values():
        model = (tiny_embedder.bundle() / facts["file"]).read_bytes()
        found = tflite.read_metadata(model)
        assert found["name"] == tiny_embedder.student().name
        (graph,) = found["subgraph_metadata"]
        assert graph["input_tensor_metadata"][0]["stats"]["max"] == [255.0]
