"""`export.search --group`: several images as one query."""

import builtins
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from export import search as program
from keras_distill import device
from tests import tiny_embedder, tiny_scorer
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def bundle():
    return str(tiny_scorer.bundle())


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    """Files of six images, of worths that differ."""
    folder = tmp_path_factory.mktemp("queries")
    files = [folder / f"{letter}.png" for letter in "abcdef"]
    for file, image in zip(files, tiny_scorer.images()[0][10:16], strict=True):
        Image.fromarray(image[..., 0]).save(file)
    return [str(file) for file in files]


def found(arguments, capsys, code=0):
    assert program.main([*map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("keep, embedded", [(None, 3), (1, 1), (6, 5)])
def test_prints_scores_weights_and_the_neighbours(
    bundle, queries, capsys, keep, embedded
):
    flags = [] if keep is None else ["--keep", keep]
    result = found([bundle, *queries, "--group", "--k", "4", *flags], capsys)
    expected = device.open_bundle(bundle).search_group(
        tiny_scorer.images()[0][10:16], 4, keep
    )
    group, members = expected.group, result["images"]
    assert [member["image"] for member in members] == queries
    for name, values in [("score", group.scores), ("weight", group.weights)]:
        np.testing.assert_allclose([member[name] for member in members], values)
    rows = tuple(row for row, member in enumerate(members) if member["embedded"])
    assert rows == group.embedded and result["embedded"] == len(rows) == embedded
    assert [neighbour["id"] for neighbour in result["neighbours"]] == expected.ids
    scores = [neighbour["score"] for neighbour in result["neighbours"]]
    np.testing.assert_allclose(scores, expected.scores)
    assert result["neighbours"][0]["class"] == expected.ids[0].split("/")[0]


def test_one_image_is_a_group_too(bundle, queries, capsys):
    result = found([bundle, queries[0], "--group"], capsys)
    alone = found([bundle, queries[0]], capsys)[0]
    assert result["images"][0]["weight"] == 1
    for one, other in zip(result["neighbours"], alone["neighbours"], strict=True):
        assert one["id"] == other["id"]
        assert one["score"] == pytest.approx(other["score"], abs=2e-5)


def test_a_broken_image_is_named_and_the_others_are_the_group(
    bundle, queries, capsys, tmp_path
):
    broken, missing = tmp_path / "broken.png", tmp_path / "missing.png"
    broken.write_bytes(b"no image")
    files = [queries[0], str(broken), *queries[1:], str(missing)]
    assert program.main([bundle, *files, "--group", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == found([bundle, *queries, "--group"], capsys)
    first, second = said.err.splitlines()
    assert first.startswith("error: ") and str(broken) in first
    assert second.startswith("error: ") and str(missing) in second


def test_where_no_image_can_be_read_nothing_is_found(bundle, capsys, tmp_path):
    missing = tmp_path / "missing.png"
    nothing = {"images": [], "embedded": 0, "neighbours": []}
    assert found([bundle, missing, "--group"], capsys, code=1) == nothing
    assert program.main([bundle, str(missing), "--group"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and str(missing) in said.err


def test_prints_two_tables(bundle, queries, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert program.main([bundle, *queries, "--group", "--k", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("6 images as one query, 3 of them embedded\n")
    for file in queries:
        (line,) = (line for line in out.splitlines() if file in line)
        assert ("yes" in line) != (" no " in line)
    assert out.index(queries[-1]) < out.index("pattern")


def test_prints_plain_lines_where_rich_is_missing(bundle, queries, capsys, monkeypatch):
    real = builtins.__import__

    def without_rich(name, *args, **kwargs):
        if name.split(".")[0] == "rich":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rich)
    assert program.main([bundle, *queries[:3], "--group", "--k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "3 images as one query, 2 of them embedded"
    assert lines[1].split() == ["score", "weight", "embedded", "image"]
    cells = [line.split() for line in lines[2:5]]
    assert [name for *_, name in cells] == queries[:3]
    assert sorted(embedded for _, _, embedded, _ in cells) == ["no", "yes", "yes"]
    assert sum(float(weight) for _, weight, _, _ in cells) == pytest.approx(1, abs=1e-3)
    # Names begin in one column, below theirs.
    assert {line.index("/") for line in lines[2:5]} == {lines[1].index("image")}
    assert [line.split()[0] for line in lines[-2:]] == ["1", "2"]


def test_refuses_and_says_what_it_got(bundle, queries):
    with pytest.raises(ValueError, match="needs --group. Received: --keep 2"):
        program.main([bundle, *queries, "--keep", "2"])
    with pytest.raises(ValueError, match="positive integer.*keep=0"):
        program.main([bundle, *queries, "--group", "--keep", "0"])
    with pytest.raises(ValueError, match="from 1 to 120.*k=0"):
        program.main([bundle, *queries, "--group", "--k", "0"])


def test_a_bundle_without_a_scorer_is_one_line_and_code_2(queries, tmp_path):
    plain = str(tiny_embedder.bundle())
    # Said at once, whether or not the images can be read.
    files = [*queries, str(tmp_path / "missing.png")]
    command = [sys.executable, "-m", "export.search", plain, *files, "--group"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: This bundle has no score network")
    assert done.stderr.count("\n") == 1
