"""`export.search --detector`: one photo to the names of the things in it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from export import search as program
from keras_distill import device
from tests import tiny_embedder, tiny_retinanet
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def detector():
    return str(tiny_retinanet.bundle())


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A picture in which the detector finds something."""
    file = tmp_path_factory.mktemp("photos") / "photo.png"
    pixels = tiny_retinanet.evaluation().images.read(range(24))
    opened = device.open_detector(tiny_retinanet.bundle())
    row = max(range(24), key=lambda row: len(opened.detect(pixels[row])[1]))
    image = Image.fromarray(pixels[row])
    image.resize((288, 192), Image.Resampling.NEAREST).save(file)
    return str(file)


def found(arguments, capsys, code=0):
    assert program.main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_each_thing_is_what_its_crop_is(
    bundle, detector, capsys, tmp_path, monkeypatch
):
    """Two images of the catalogue in a photo, where a detector says they are."""
    images, names = tiny_embedder.images()[0], tiny_embedder.catalogue().ids
    sheet = Image.new("RGB", (150, 120), (90, 160, 200))
    for row, corner in ((15, (10, 20)), (52, (100, 70))):
        sheet.paste(Image.fromarray(images[row, ..., 0]).convert("RGB"), corner)
    sheet.save(tmp_path / "photo.png")
    boxes = np.float32([[10, 20, 42, 52], [100, 70, 132, 102]])
    things = device.Found(
        boxes, np.float32([0.9, 0.6]), np.int32([1, 0]), ("bar", "square"), (150, 120)
    )
    monkeypatch.setattr(device.DetectorBundle, "find", lambda self, file: things)
    command = [bundle, tmp_path / "photo.png", "--detector", detector, "--k", "3"]
    (result,) = found(command, capsys)
    assert result["image"] == str(tmp_path / "photo.png")
    assert result["size"] == [150, 120]
    for thing, row, name, score, box in zip(
        result["objects"], (15, 52), things.names, (0.9, 0.6), boxes, strict=True
    ):
        assert thing["class"] == name and thing["box"] == box.tolist()
        assert thing["score"] == pytest.approx(score)
        assert len(thing["neighbours"]) == 3 and thing["no_match"] is False
        assert thing["neighbours"][0]["id"] == names[row]
        assert thing["neighbours"][0]["score"] == pytest.approx(1, abs=1e-3)
    # A margin brings in what lies around.
    (wider,) = found([*command, "--margin", "0.5"], capsys)
    assert wider["objects"][0]["box"] == boxes[0].tolist()
    assert wider["objects"][0]["neighbours"][0]["score"] < 0.99


def test_it_prints_what_the_library_finds(bundle, detector, photo, capsys):
    (result,) = found([bundle, photo, "--detector", detector], capsys)
    opened, catalogue = device.open_detector(detector), device.open_bundle(bundle)
    expected = opened.find(photo)
    assert len(result["objects"]) == len(expected.boxes) > 0
    crops = device.read_crops(photo, expected.boxes, catalogue.image_shape)
    ids, scores = catalogue.search(crops, k=5)
    for row, thing in enumerate(result["objects"]):
        assert thing["class"] == expected.names[row]
        np.testing.assert_allclose(thing["box"], expected.boxes[row], atol=0.01)
        assert [one["id"] for one in thing["neighbours"]] == ids[row]
        np.testing.assert_allclose(
            [one["score"] for one in thing["neighbours"]], scores[row], atol=1e-5
        )


def test_flags_choose_the_score_and_the_networks(bundle, detector, photo, capsys):
    command = [bundle, photo, "--detector", detector]
    own, fewer, more = (
        len(found([*command, *flags], capsys)[0]["objects"])
        for flags in ([], ["--score", "1"], ["--score", "0.05"])
    )
    assert more > own > fewer == 0
    (exact,) = found([*command, "--model", "float32"], capsys)
    expected = device.open_detector(detector, model="float32").find(photo)
    scores = [thing["score"] for thing in exact["objects"]]
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)


def test_a_photo_without_anything_is_no_error(bundle, detector, capsys, tmp_path):
    Image.new("RGB", (64, 50), (127, 127, 127)).save(tmp_path / "grey.png")
    command = [bundle, tmp_path / "grey.png", "--detector", detector, "--score", "0.99"]
    (result,) = found(command, capsys)
    assert result["objects"] == []
    assert program.main([*map(str, command)]) == 0
    said = capsys.readouterr().out
    assert said == f"{tmp_path / 'grey.png'}: nothing with a score above 0.99\n"


def test_a_broken_photo_is_named_and_the_others_are_answered(
    bundle, detector, photo, capsys, tmp_path
):
    (tmp_path / "empty.jpg").touch()
    files = [str(tmp_path / "empty.jpg"), photo, str(tmp_path / "missing.jpg")]
    assert program.main([bundle, *files, "--detector", detector, "--json"]) == 1
    said = capsys.readouterr()
    assert [result["image"] for result in json.loads(said.out)] == [photo]
    first, second = said.err.splitlines()
    assert first.startswith("error: Cannot read the image") and "empty.jpg" in first
    assert second.startswith("error: ") and "missing.jpg" in second


def test_prints_a_table_a_thing(bundle, detector, photo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    opened = device.open_detector(detector).find(photo)
    assert program.main([bundle, photo, "--detector", detector, "--k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    count = len(opened.boxes)
    assert lines[0] == f"{photo}: {count} thing{'s' if count > 1 else ''}"
    x1, y1, x2, y2 = (f"{side:.0f}" for side in opened.boxes[0])
    assert lines[1] == (
        f"{opened.names[0]}, score {opened.scores[0]:.2f}, "
        f"from ({x1}, {y1}) to ({x2}, {y2})"
    )
    assert sum("pattern" in line for line in lines) == 2 * count


def test_runs_without_tensorflow_keras_and_scann(bundle, detector, photo):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('export.search', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'tensorflow', 'keras', 'scann'} & set(sys.modules)\n"
        "sys.exit(f'it imported {heavy}' if heavy else code)"
    )
    command = [sys.executable, "-c", code, bundle, photo, "--detector", detector]
    done = subprocess.run(
        [*command, "--json"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["objects"] and done.stderr == ""


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--score", "0.3"], "--score: .*one with --detector. Received"),
        (["--margin", "0.1"], "--margin: .*one with --detector. Received"),
        (["--margin", "-1", "--detector", "x"], "from 0 on. Received: --margin -1.0"),
        (["--margin", "nan", "--detector", "x"], "from 0 on. Received: --margin nan"),
        (["--group", "--detector", "x"], "--group asks with all images as one query"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(bundle, photo, flags, message):
    with pytest.raises(ValueError, match=message):
        program.main([bundle, photo, *flags])


def test_what_is_no_detector_is_refused(bundle, detector, photo, tmp_path):
    def refuse(arguments, message, error=ValueError):
        with pytest.raises(error, match=message):
            program.main([*map(str, arguments)])

    refuse(
        [bundle, photo, "--detector", bundle], "one of a detector, this is one of an"
    )
    refuse(
        [detector, photo, "--detector", detector], "of an embedder, this is one of a"
    )
    refuse([bundle, photo, "--detector", tmp_path], "holds manifest.json", OSError)
    refuse([bundle, photo, "--detector", detector, "--score", "2"], "threshold=2.0")
    refuse([bundle, photo, "--detector", detector, "--k", "0"], "from 1 to 120.*k=0")
