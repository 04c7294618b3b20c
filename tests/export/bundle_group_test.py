"""`export.bundle` with a scorer."""

import json

import numpy as np
import pytest

from export import bundle as program
from export import report
from keras_distill import device, retrieval
from tests import tiny_embedder, tiny_scorer


@pytest.fixture
def asked(monkeypatch):
    """What the program asks to be written, instead of writing it."""
    arguments = {}
    manifest = json.loads((tiny_scorer.bundle() / "manifest.json").read_text())

    def write_bundle(out, student, **others):
        arguments.update(out=out, student=student, **others)
        return manifest

    monkeypatch.setattr(retrieval, "write_bundle", write_bundle)
    return arguments


def test_the_scorer_goes_into_the_bundle(finished_run, scorer_file, tmp_path, capsys):
    out = tmp_path / "bundle"
    flags = ["--scorer", str(scorer_file), "--keep", "2", "--json"]
    program.main([str(finished_run), "--out", str(out), *flags])
    bundle = device.open_bundle(out)
    assert bundle.manifest["group"]["keep"] == 2
    assert json.loads(capsys.readouterr().out)["group"] == bundle.manifest["group"]
    images = tiny_scorer.images()[0][:5]
    expected = np.asarray(tiny_scorer.scorer()(images.astype("float32")))[:, 0]
    np.testing.assert_allclose(bundle.score(images), expected, atol=0.1)
    assert len(bundle.embed_group(images).embedded) == 2


def test_without_one_there_is_none(finished_run, asked):
    program.main([str(finished_run), "--out", "bundles/a"])
    assert asked["scorer"] is asked["degradation"] is asked["keep"] is None


def test_a_run_of_groups_brings_its_own(run_of_groups, asked):
    program.main([str(run_of_groups), "--out", "bundles/a"])
    assert set(asked["catalogue"].class_names) == {
        *["pattern02", "pattern03"],
        *[f"pattern2{i}" for i in range(4)],
    }
    assert len(asked["held_out"]) == 30 and len(asked["calibration"]) == 90
    for name, expected in [
        ("student", tiny_embedder.student()),
        ("scorer", tiny_scorer.scorer()),
    ]:
        found = asked[name].get_weights()
        for weights, others in zip(found, expected.get_weights(), strict=True):
            np.testing.assert_array_equal(weights, others)


def test_it_is_shown_what_it_learnt_from(run_of_groups, finished_run, asked):
    """The recipe beside the scorer says, whichever run the embedder is of."""
    for command in (
        [run_of_groups],
        [finished_run, "--scorer", run_of_groups / "scorer.keras"],
    ):
        program.main([*map(str, command), "--out", "bundles/a"])
        layer = asked["degradation"]
        assert (layer.blur, layer.share, layer.noise) == (0.01, 1.0, 50.0)


def test_names_of_classes_are_no_globs(run_of_groups, asked):
    recipe = json.loads((run_of_groups / "recipe.json").read_text())
    recipe["resolved"]["folds"][-1]["unseen"] = ["pattern0*"]
    (run_of_groups / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(ValueError, match="must match a class"):
        program.main([str(run_of_groups), "--out", "bundles/a"])


def test_prints_a_table_of_the_scorer_too(finished_run, asked, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    program.main([str(finished_run), "--out", "bundles/a"])
    lines = capsys.readouterr().out.splitlines()
    group = json.loads((tiny_scorer.bundle() / "manifest.json").read_text())["group"]
    near = group["models"]["int8"]
    for label, value in [
        ("mean difference", f"{near['difference_mean']:.5f}"),
        ("largest difference", f"{near['difference_max']:.5f}"),
        ("rank correlation", f"{near['rank_correlation']:.5f}"),
    ]:
        (line,) = (line for line in lines if label in line)
        assert value in line
    assert any("Of a group a device embeds: 3." in line for line in lines)
    assert any(line.endswith("bundles/a/score_int8.tflite") for line in lines)


def test_a_scorer_without_order_has_none_in_the_table(capsys):
    manifest = json.loads((tiny_scorer.bundle() / "manifest.json").read_text())
    manifest["group"]["keep"] = None
    for model in manifest["group"]["models"].values():
        model["rank_correlation"] = None
    report.show(tiny_scorer.bundle(), manifest)
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if "rank correlation" in line)
    assert line.count("none") == 2
    assert "all that weigh" in out


def test_what_lacks_a_scorer_or_an_end_is_refused(
    finished_run, run_of_groups, tmp_path
):
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(ValueError, match="no scorer.*Received: --keep 2"):
        program.main([str(finished_run), *out, "--keep", "2"])
    with pytest.raises(FileNotFoundError, match="A scorer is a file.*nothing.keras"):
        program.main([str(finished_run), *out, "--scorer", "nothing.keras"])
    (run_of_groups / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="not ended.*without metrics.json"):
        program.main([str(run_of_groups), *out])
    (run_of_groups / "metrics.json").touch()
    (run_of_groups / "scorer.keras").unlink()
    with pytest.raises(FileNotFoundError, match="A scorer is a file.*groups/scorer"):
        program.main([str(run_of_groups), *out])
    assert not (tmp_path / "out").exists()
