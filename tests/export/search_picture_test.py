"""`export.search --picture`: what is found, to look at."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from export import search as program
from export.answer_picture import CELL, COLOURS, GAP, LINE, MATCH, NAME, OTHER
from keras_distill import device
from tests import tiny_scorer

ROW = CELL + 4 + 2 * LINE


def drawn(arguments, file, capsys):
    """The picture, as an array, and what was printed as JSON."""
    assert program.main([*map(str, arguments), "--picture", str(file), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err.strip() == str(file)
    return np.asarray(Image.open(file)), json.loads(said.out)


def cell(sheet, line, column, top=0):
    """What lies inside the frame of a picture, and the colour of the frame."""
    y = GAP + top + line * (ROW + GAP)
    x = GAP + column * (NAME + GAP) + (NAME - CELL) // 2
    inside = sheet[y + 2 : y + CELL - 2, x + 2 : x + CELL - 2]
    return inside, "#{:02x}{:02x}{:02x}".format(*sheet[y, x])


def enlarged(pixels):
    """Grey pixels as they are drawn: three times as large, without smoothing."""
    size = (CELL - 4, CELL - 4)
    image = Image.fromarray(pixels).convert("RGB")
    return np.asarray(image.resize(size, Image.Resampling.NEAREST))


def test_each_row_is_a_query_and_its_neighbours(bundle, queries, capsys, tmp_path):
    sheet, results = drawn([bundle, *queries, "--k", "4"], tmp_path / "a.png", capsys)
    assert sheet.shape == (2 * ROW + 3 * GAP, 5 * NAME + 6 * GAP, 3)
    opened = device.open_bundle(bundle)
    for line, result in enumerate(results):
        asked, _ = cell(sheet, line, 0)
        query = np.asarray(Image.open(queries[line]))
        assert np.array_equal(asked, enlarged(query))
        for column, one in enumerate(result["neighbours"], 1):
            inside, frame = cell(sheet, line, column)
            thumbnail = opened.thumbnail(opened.ids.index(one["id"]))
            assert np.array_equal(inside, enlarged(thumbnail))
            assert frame == (MATCH if one["match"] else OTHER)


def test_what_is_not_in_the_catalogue_is_said(bundle, queries, capsys, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    asked = [bundle, queries[0], tmp_path / "noise.png"]
    sheet, results = drawn(asked, tmp_path / "a.png", capsys)
    assert [result["no_match"] for result in results] == [False, True]
    # Below the noise there are two lines, below the other its name alone.
    written = [
        (sheet[top + CELL + 2 + LINE : top + ROW, GAP : GAP + NAME] < 200).any()
        for top in (GAP, GAP + ROW + GAP)
    ]
    assert written == [False, True]
    assert cell(sheet, 1, 1)[1] == OTHER


def test_without_thumbnails_frames_are_empty(bundle, queries, capsys, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["thumbnails"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sheet, _ = drawn([folder, queries[0]], tmp_path / "a.png", capsys)
    assert (cell(sheet, 0, 1)[0] == 255).all() and cell(sheet, 0, 1)[1] == MATCH


def test_a_group_shows_its_images_and_what_they_find(queries, capsys, tmp_path):
    asked = [tiny_scorer.bundle(), *queries, "--group", "--k", "3"]
    sheet, result = drawn(asked, tmp_path / "a.png", capsys)
    assert sheet.shape == (2 * ROW + 3 * GAP, 3 * NAME + 4 * GAP, 3)
    assert np.array_equal(
        cell(sheet, 0, 1)[0], enlarged(np.asarray(Image.open(queries[1])))
    )
    opened = device.open_bundle(tiny_scorer.bundle())
    for column, one in enumerate(result["neighbours"]):
        thumbnail = opened.thumbnail(opened.ids.index(one["id"]))
        assert np.array_equal(cell(sheet, 1, column)[0], enlarged(thumbnail))


@pytest.mark.parametrize("count", [0, 2])
def test_a_photo_shows_boxes_and_a_row_for_each(
    bundle, capsys, tmp_path, monkeypatch, count
):
    photo = Image.new("RGB", (120, 60), (90, 160, 200))
    photo.paste((200, 30, 30), (10, 20, 40, 50))
    photo.save(tmp_path / "photo.png")
    boxes = np.float32([[10, 20, 40, 50], [70, 10, 100, 40]])[:count]
    found = device.Found(
        boxes, np.ones(count, "f4"), np.arange(count), ("bar", "square")[:count],
        (120, 60),
    )  # fmt: skip
    opened = type("Opened", (), {"threshold": 0.5, "find": lambda self, file: found})
    monkeypatch.setattr(device, "open_detector", lambda *_: opened())
    asked = [bundle, tmp_path / "photo.png", "--detector", "cells", "--k", "2"]
    sheet, _ = drawn(asked, tmp_path / "a.png", capsys)
    shown = (480, 960)  # of the photo, eight times as large
    assert sheet.shape[0] == shown[0] + 2 * GAP + count * (ROW + GAP)
    assert sheet.shape[1] == shown[1] + 2 * GAP
    # The edge of a box in the photo, and the crop in the row of that thing.
    edge = "#{:02x}{:02x}{:02x}".format(*sheet[GAP + 8 * 35, GAP + 8 * 10])
    assert (edge == COLOURS[0]) == (count > 0)
    if count:
        inside, _ = cell(sheet, 0, 0, top=shown[0] + GAP)
        assert (inside == (200, 30, 30)).all()


def test_a_picture_that_is_there_is_replaced_only_if_told(
    bundle, queries, capsys, tmp_path
):
    file = tmp_path / "a.png"
    file.write_bytes(b"mine")
    command = [bundle, queries[0], "--picture", str(file)]
    with pytest.raises(FileExistsError, match="--overwrite replaces it. Received:"):
        program.main(command)
    assert capsys.readouterr().out == "" and file.read_bytes() == b"mine"
    assert program.main([*command, "--overwrite"]) == 0
    assert capsys.readouterr().out.endswith(f"{file}\n")
    with Image.open(file) as drawn:
        assert drawn.size[0] == 6 * NAME + 7 * GAP


def test_other_endings_are_refused_before_anything_is_searched(bundle, queries):
    with pytest.raises(ValueError, match="one of .png, .jpg, .jpeg. Received: .*a.txt"):
        program.main([bundle, queries[0], "--picture", "a.txt"])


def test_nothing_that_can_be_read_leaves_no_picture(bundle, tmp_path, capsys):
    (tmp_path / "no.png").write_bytes(b"no image")
    file = tmp_path / "a.png"
    command = [bundle, str(tmp_path / "no.png"), "--picture", str(file)]
    assert program.main(command) == 1 and not file.exists()
    assert "Cannot read the image" in capsys.readouterr().err
