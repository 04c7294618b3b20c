import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_distill import device, tflite
from keras_distill.retrieval import bundle as writer
from keras_distill.retrieval import catalogue_part, update_bundle, write_bundle
from tests import tiny_embedder
from tests.conftest import ROOT

# What a search depends on; golden images and thresholds are compared on their own.
SEARCHED = (
    "ids.json",
    "search.tflite",
    "scann",
    "queries.npy",
    "task_searcher.tflite",
    "thumbnails",
)


@pytest.fixture
def at_once(monkeypatch):
    """Converting takes seconds and is tested elsewhere."""
    done = {mode: tiny_embedder.converted(mode) for mode in writer.FILES}
    monkeypatch.setattr(tflite, "convert", lambda student, mode, _: done[mode])


@pytest.fixture
def bundle(tmp_path):
    """A copy of the bundle to change."""
    return shutil.copytree(tiny_embedder.bundle(), tmp_path / "bundle")


def parts(first, second=()):
    """Images of the catalogue by their numbers, in that order."""
    return tiny_embedder.catalogue().subset([*first, *second])


def written(out, catalogue, **options):
    images = tiny_embedder.images(seed=2)[0][:40]
    return write_bundle(
        out,
        tiny_embedder.student(),
        tiny_embedder.calibration(),
        catalogue,
        held_out=images,
        task_library=True,
        **options,
    )


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_it_is_the_bundle_that_would_be_written_anew(at_once, tmp_path):
    written(tmp_path / "a", parts(range(105)))
    removed = [parts([row]).ids[0] for row in (3, 50, 99)]
    update_bundle(tmp_path / "a", parts(range(105, 120)), removed)
    kept = [row for row in range(105) if row not in (3, 50, 99)]
    written(tmp_path / "b", parts(kept, range(105, 120)))
    ours, anew = files(tmp_path / "a"), files(tmp_path / "b")
    same = [name for name in anew if name.startswith(SEARCHED)]
    assert {"search.tflite", "task_searcher.tflite", "scann/dataset.npy"} <= {*same}
    for name in [*same, "embed_int8.tflite", "embed_f32.tflite"]:
        assert ours[name] == anew[name], name
    ours, anew = (json.loads(some["manifest.json"]) for some in (ours, anew))
    assert ours["catalogue"] == anew["catalogue"]
    assert ours["task_library"] == anew["task_library"]
    assert ours["thumbnails"] == anew["thumbnails"]
    assert ours["thresholds"]["models"]["int8"] == anew["thresholds"]["models"]["int8"]
    images, _ = tiny_embedder.images()
    opened = [device.open_bundle(tmp_path / name) for name in "ab"]
    for searcher in ("auto", "numpy"):
        found = [some.search(images, 10, searcher) for some in opened]
        assert found[0][0] == found[1][0]
        np.testing.assert_array_equal(found[0][1], found[1][1])
    assert opened[0].classes == opened[1].classes


def test_what_was_asked_for_is_kept(at_once, tmp_path):
    few = parts(range(6))
    written(tmp_path / "a", few, neighbours=7, index="brute_force")
    assert device.open_bundle(tmp_path / "a").manifest["search"]["k"] == 6
    manifest = update_bundle(tmp_path / "a", parts(range(6, 30)))
    assert manifest["search"]["k"] == 7
    assert manifest["catalogue"]["index_asked_for"] == "brute_force"
    assert manifest["catalogue"]["recall"] == 0.99


def test_what_was_removed_is_found_no_more_and_leaves_no_pixels(bundle):
    images, _ = tiny_embedder.images()
    opened = device.open_bundle(bundle)
    with np.load(bundle / "golden.npz") as file:
        removed = str(file["image_ids"][7])
    row = opened.ids.index(removed)
    shown = opened.thumbnail(row)
    manifest = update_bundle(bundle, remove=removed)
    ids, _ = device.open_bundle(bundle).search(images[row : row + 1], 10)
    assert removed not in ids[0] and manifest["catalogue"]["images"] == 119
    with np.load(bundle / "golden.npz") as file:
        golden = dict(file)
    assert removed not in golden["image_ids"]
    assert not (golden["images"] == images[row]).all(axis=(1, 2, 3)).any()
    assert not any(removed.encode() in data for data in files(bundle).values())
    opened = device.open_bundle(bundle)
    left = np.stack([opened.thumbnail(row) for row in range(119)])
    assert not (left == shown).all(axis=(1, 2)).any()


def test_what_was_added_is_found_and_has_its_class(bundle):
    new, _ = tiny_embedder.images(classes=2, per_class=3, seed=8)
    added = parts(range(6))
    added = type("Images", (), {})()
    added.ids = [f"new/{i}.png" for i in range(6)]
    added.labels, added.class_names = [0] * 3 + [1] * 3, ["unseen", "pattern03"]
    added.image_shape, added.synonyms = (32, 32, 1), {}
    added.read = lambda rows: new[np.asarray(rows)]
    type(added).__len__ = lambda self: 6
    manifest = update_bundle(bundle, added)
    opened = device.open_bundle(bundle)
    ids, scores = opened.search(new, 1)
    assert [row[0] for row in ids] == added.ids and scores.min() > 0.9999
    classes = dict(zip(opened.ids, opened.classes, strict=True))
    assert [classes[name] for name in added.ids] == ["unseen"] * 3 + ["pattern03"] * 3
    assert manifest["catalogue"]["images"] == 126
    assert manifest["catalogue"]["classes"] == 25
    assert manifest["updated"]["added"] == 6 and manifest["updated"]["removed"] == 0
    assert opened.check_golden()["top_1_same"] == 1.0


def test_an_id_can_be_replaced(bundle):
    name = tiny_embedder.catalogue().ids[4]
    update_bundle(bundle, parts([4]), [name])
    assert device.open_bundle(bundle).ids[-1] == name
    assert len(device.open_bundle(bundle)) == 120


def test_a_bundle_of_the_same_student_can_be_added_without_its_images(
    at_once, tmp_path
):
    written(tmp_path / "a", parts(range(60)))
    written(tmp_path / "b", parts(range(60, 120)))
    update_bundle(tmp_path / "a", tmp_path / "b")
    both, whole = (
        device.open_bundle(path) for path in (tmp_path / "a", tiny_embedder.bundle())
    )
    assert both.ids == whole.ids and both.classes == whole.classes
    np.testing.assert_allclose(both.rows, whole.rows, atol=1e-6)
    sheet = "thumbnails/0000.png"
    assert (both.path / sheet).read_bytes() == (whole.path / sheet).read_bytes()


def test_of_a_bundle_that_is_added_come_other_names_and_no_thumbnails_if_it_has_none(
    at_once, tmp_path
):
    some = parts(range(60, 70))
    some.synonyms = {some.class_names[12]: ("another name",)}
    written(tmp_path / "a", parts(range(60)))
    written(tmp_path / "b", some, thumbnails=False)
    manifest = update_bundle(tmp_path / "a", tmp_path / "b")
    assert "thumbnails" not in manifest
    assert "thumbnails" in manifest["updated"]["left_out"]
    assert not (tmp_path / "a" / "thumbnails").exists()
    assert device.open_bundle(tmp_path / "a").synonyms == some.synonyms
    # Nor do they come back later.
    again = update_bundle(tmp_path / "a", remove=some.ids[:1])
    assert "thumbnails" in again["updated"]["left_out"]


def other_student(folder):
    """Makes the bundle one of another network: its two files change places."""
    manifest = json.loads((folder / "manifest.json").read_text())
    float_file = (folder / "embed_f32.tflite").read_bytes()
    (folder / "embed_int8.tflite").write_bytes(float_file)
    facts = manifest["files"]["embed_f32.tflite"]
    manifest["files"]["embed_int8.tflite"] = facts
    return manifest, facts["sha256"]


def test_a_bundle_of_another_student_is_refused(bundle, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "other")
    manifest, digest = other_student(other)
    manifest["catalogue"]["embedder"] = digest
    (other / "manifest.json").write_text(json.dumps(manifest))
    before = files(bundle)
    with pytest.raises(device.BundleError, match=f"same student.*{digest[:12]}"):
        update_bundle(bundle, other)
    assert files(bundle) == before


def test_a_catalogue_beside_another_network_is_refused_when_it_is_opened(bundle):
    manifest, digest = other_student(bundle)
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(device.BundleError, match=f"embedded by the net.*of {digest}"):
        device.open_bundle(bundle)


def test_a_catalogue_that_becomes_too_small_for_thresholds_says_so(bundle):
    ids = tiny_embedder.catalogue().ids
    manifest = update_bundle(bundle, remove=ids[:60])
    assert manifest["thresholds"]["models"] == {}
    assert "at least 100 queries" in manifest["thresholds"]["refused"]
    assert not device.open_bundle(bundle).has_thresholds()


def test_what_is_asked_wrongly_changes_nothing(bundle):
    ids, before = tiny_embedder.catalogue().ids, files(bundle)
    wrong = parts([0])
    wrong.image_shape = (16, 16, 1)
    for arguments, message in [
        ({}, "must be images to add or to remove"),
        ({"remove": ["nothing"]}, r"in the catalogue. Received: 1 .*\['nothing'\]"),
        ({"add": parts([5])}, rf"must be new.*Received: 1 .*\['{ids[5]}'\]"),
        ({"add": wrong}, r"shape, \(32, 32, 1\). Received: \(16, 16, 1\)"),
        ({"remove": ids[1:]}, "At least two.*Received: 1 of 120"),
        ({"remove": ids}, "At least two.*Received: 0 of 120"),
    ]:
        with pytest.raises(ValueError, match=message):
            update_bundle(bundle, **arguments)
    assert files(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
    with pytest.raises(FileNotFoundError, match="A bundle is a folder"):
        update_bundle(bundle.parent, remove=["x"])


def test_a_full_disk_leaves_the_bundle_as_it_was(bundle, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    before = files(bundle)
    for target in (catalogue_part.np, "savez"), (shutil, "copyfile"):
        with monkeypatch.context() as patch:
            patch.setattr(*target, full)
            with pytest.raises(OSError, match="No space left"):
                update_bundle(bundle, remove=[tiny_embedder.catalogue().ids[0]])
    assert files(bundle) == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def interrupted(tmp_path, step, *ways):
    """The operations of an update, and what came of stopping it at each `step`-th."""
    name = tiny_embedder.catalogue().ids[0]
    module = "tests.retrieval.interrupted_update"
    command = [sys.executable, "-m", module, tiny_embedder.bundle(), tmp_path / "work"]
    done = subprocess.run(
        [*map(str, command), name, str(step), *ways],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    whole, *runs = map(json.loads, done.stdout.splitlines())
    assert whole["raised"] is None and whole["left"] == 0
    if "x" not in whole["seen"]:
        pytest.skip("this system cannot exchange two folders in one step")
    return whole["seen"].index("x") + 1, len(whole["seen"]), runs


def test_a_crash_at_any_operation_leaves_the_old_bundle_or_the_new_one(tmp_path):
    """To the byte, wherever it stops; and what it leaves is in nobody's way."""
    exchange, count, runs = interrupted(tmp_path, 1, "dead", "full")
    assert 50 < exchange < count
    everywhere = [(n, how) for n in range(1, count + 1) for how in ("dead", "full")]
    assert [(run["last"], run["how"]) for run in runs] == everywhere
    for run in runs:
        # The exchange itself is stopped before it is done.
        early = run["last"] <= exchange and run["raised"] is not None
        assert run["found"] == ("old" if early else "new"), run
        assert run.get("again", "new") == "new", run
        if run["how"] == "dead":
            assert run["raised"] == "Dead", run
        elif early:  # an error cleans up
            assert run["raised"] in ("OSError", "BundleError"), run
            assert run["left"] == 0, run
    left = [run for run in runs if run["how"] == "dead" and run["left"]]
    assert len(left) > 50 and sum("again" in run for run in left) > 50


@pytest.mark.slow
def test_so_does_a_process_that_is_killed(tmp_path):
    exchange, count, runs = interrupted(tmp_path, 17, "kill")
    lasts = [run["last"] for run in runs]
    assert {exchange - 1, exchange, exchange + 1, 17, 34} <= {*lasts} and lasts[-1] > 68
    for run in runs:
        assert run["raised"] == "killed", run
        assert run["found"] == ("old" if run["last"] <= exchange else "new"), run
        assert run.get("again", "new") == "new", run
