import json

import pytest

from export import report as program
from tests import tiny_embedder


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")


def shown(manifest, capsys):
    program.show(tiny_embedder.bundle(), manifest)
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture
def manifest():
    return json.loads((tiny_embedder.bundle() / "manifest.json").read_text())


def test_float_and_int8_thresholds_stand_side_by_side(manifest, capsys):
    program.main([str(tiny_embedder.bundle())])
    lines = capsys.readouterr().out.splitlines()
    models = manifest["thresholds"]["models"]
    for kind, label in ("match", "match from"), ("no_match", "in the catalogue from"):
        (line,) = (line for line in lines if label in line)
        for name in ("int8", "float32", "float_catalogue"):
            assert f"{models[name][kind]['threshold']:.4f} (" in line
    text = " ".join(" ".join(lines).split())
    assert "Thresholds for a false match rate of 0.01" in text
    assert "Of 480 pairs of one class and 13,800 of different classes" in text


def test_the_search_file_is_described(manifest, capsys):
    search = manifest["search"]
    assert "its 10 nearest" in shown(manifest, capsys)
    assert "all rows with one byte a number, the best 64" in shown(manifest, capsys)
    search.update(kind="inverted_file", lists=1500, probes=16, candidates=256)
    assert "16 of 1,500 lists, the best 256 with two" in shown(manifest, capsys)


def test_a_bundle_without_thresholds_says_why_and_an_older_one_nothing(
    manifest, capsys
):
    manifest["thresholds"] = {
        "false_match_rate": 0.01,
        "models": {},
        "refused": "too few queries",
    }
    assert "No thresholds: too few queries" in shown(manifest, capsys)
    del manifest["thresholds"], manifest["search"]
    text = shown(manifest, capsys)
    assert "hresholds" not in text and "nearest in" not in text
