import builtins
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from export import answers
from export import search as program
from keras_distill import device
from tests import tiny_embedder
from tests.conftest import ROOT


def found(arguments, capsys, code=0):
    assert program.main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_an_image_of_the_catalogue_finds_itself_first(bundle, queries, capsys):
    results = found([bundle, *queries], capsys)
    assert [result["image"] for result in results] == queries
    names = ["pattern03/15.png", "pattern10/52.png"]
    for result, name in zip(results, names, strict=True):
        assert len(result["neighbours"]) == 5
        first = result["neighbours"][0]
        assert (first["id"], first["class"]) == (name, name.split("/")[0])
        assert first["score"] == pytest.approx(1, abs=2e-5)
        scores = [neighbour["score"] for neighbour in result["neighbours"]]
        assert scores == sorted(scores, reverse=True)


def test_says_what_is_a_match_and_what_is_not_in_the_catalogue(
    bundle, queries, capsys, tmp_path
):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    known, unknown = found([bundle, queries[0], tmp_path / "noise.png"], capsys)
    assert known["no_match"] is False and known["neighbours"][0]["match"] is True
    opened = device.open_bundle(bundle)
    for result in (known, unknown):
        scores = np.array([n["score"] for n in result["neighbours"]], np.float32)
        assert [n["match"] for n in result["neighbours"]] == opened.match(
            scores
        ).tolist()
    assert unknown["no_match"] is True
    program.main([bundle, str(tmp_path / "noise.png")])
    assert "not in the catalogue" in capsys.readouterr().out


def test_a_threshold_that_refuses_most_of_the_catalogue_is_not_spoken_of(capsys):
    neighbour = {"id": "a", "class": "a", "score": 0.9, "match": False}
    answer = {"image": "x", "neighbours": [neighbour], "no_match": True}
    answers.show([{**answer, "known_accepted": 0.49}])
    assert "not in the catalogue" not in capsys.readouterr().out
    answers.show([{**answer, "known_accepted": 0.5}])
    assert "not in the catalogue" in capsys.readouterr().out


def test_says_how_much_of_the_catalogue_the_threshold_accepts(bundle, queries, capsys):
    (result,) = found([bundle, queries[0]], capsys)
    manifest = device.open_bundle(bundle).manifest
    facts = manifest["thresholds"]["models"]["int8"]["no_match"]
    assert result["known_accepted"] == facts["true_rate"] > 0.5


def test_flags_choose_how_many_and_by_what(bundle, queries, capsys):
    flags = ["--k", "7", "--model", "float32", "--searcher", "numpy", "--threads", "2"]
    (result,) = found([bundle, queries[0], *flags], capsys)
    exact = device.open_bundle(bundle, model="float32")
    image = device.read_image(queries[0], exact.image_shape)
    ids, scores = exact.search(image[None], 7)
    assert [neighbour["id"] for neighbour in result["neighbours"]] == ids[0]
    np.testing.assert_allclose(
        [neighbour["score"] for neighbour in result["neighbours"]], scores[0], atol=1e-6
    )


def test_images_of_any_size_and_mode_are_taken(bundle, queries, capsys, tmp_path):
    image = Image.open(queries[0])
    image.resize((100, 100), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    image.convert("RGBA").save(tmp_path / "rgba.png")
    image.convert("P").save(tmp_path / "palette.png")
    image.close()
    files = sorted(tmp_path.iterdir())
    for result in found([bundle, *files], capsys):
        assert result["neighbours"][0]["class"] == "pattern03", result["image"]


def test_a_broken_image_is_named_and_the_others_are_answered(
    bundle, queries, capsys, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    missing = tmp_path / "missing.png"
    command = [bundle, str(broken), queries[0], str(missing), "--json"]
    assert program.main(command) == 1
    said = capsys.readouterr()
    assert [result["image"] for result in json.loads(said.out)] == queries[:1]
    first, second = said.err.splitlines()
    assert first.startswith("error: ") and str(broken) in first
    assert second.startswith("error: ") and str(missing) in second


def test_prints_a_table_an_image(bundle, queries, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert program.main([bundle, *queries, "--k", "2"]) == 0
    out = capsys.readouterr().out
    assert out.index(queries[0]) < out.index("pattern03/15.png")
    assert out.index("pattern03/15.png") < out.index(queries[1])
    assert "1.0000" in out and "score" in out


def test_brackets_in_a_name_are_printed_as_they_are(bundle, queries, capsys, tmp_path):
    odd = tmp_path / "[bold]a.png"
    odd.write_bytes(pathlib.Path(queries[0]).read_bytes())
    assert program.main([bundle, str(odd)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(odd)


def test_prints_plain_lines_where_rich_is_missing(bundle, queries, capsys, monkeypatch):
    real = builtins.__import__

    def without_rich(name, *args, **kwargs):
        if name.split(".")[0] == "rich":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    assert program.main([bundle, queries[0], "--k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == queries[0]
    assert lines[1].split() == ["1", "1.0000", "yes", "pattern03/15.png"]
    assert len(lines) == 3


def test_a_small_catalogue_gives_what_it_has(queries, capsys, monkeypatch):
    opened = device.open_bundle(tiny_embedder.bundle())
    opened.ids, opened.rows = opened.ids[:3], opened.rows[:3]
    del opened.manifest["search"]
    monkeypatch.setattr(device, "open_bundle", lambda *args: opened)
    (result,) = found(["bundle", queries[0]], capsys)
    assert len(result["neighbours"]) == 3
    with pytest.raises(ValueError, match="from 1 to 3.*k=4"):
        program.main(["bundle", queries[0], "--k", "4"])


def test_runs_without_tensorflow_keras_and_scann(bundle, queries):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_module('export.search', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'tensorflow', 'keras', 'scann'} & set(sys.modules)\n"
        "sys.exit(f'it imported {heavy}' if heavy else code)"
    )
    command = [sys.executable, "-c", code, bundle, queries[0], "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["neighbours"][0]["id"] == "pattern03/15.png"
    assert done.stderr == ""


def test_what_is_no_bundle_is_one_line_and_code_2(tmp_path, queries):
    command = [sys.executable, "-m", "export.search", str(tmp_path), queries[0]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: A bundle is a folder")
    assert done.stderr.count("\n") == 1
