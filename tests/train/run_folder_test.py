import json

import pytest

from train import run_folder

ARGUMENTS = {"out": "x", "resume": False, "overwrite": False, "seed": 3, "epochs": 4}
DATA = {"name": "glyphs", "fingerprint": "0a", "train": {"classes": 2, "images": 9}}


@pytest.fixture
def run(tmp_path):
    out = tmp_path / "run"
    run_folder.begin(out, ARGUMENTS, DATA, {})
    return out


def test_a_folder_that_is_missing_or_empty_is_new(tmp_path):
    assert run_folder.check(tmp_path / "none", ARGUMENTS) == "new"
    assert run_folder.check(tmp_path, ARGUMENTS) == "new"


def test_the_recipe_holds_arguments_versions_seed_data_and_command(run):
    recipe = json.loads((run / "recipe.json").read_text())
    assert recipe["arguments"] == ARGUMENTS and recipe["data"] == DATA
    assert recipe["seed"] == 3 and recipe["command"][:2] == ["python", "-m"]
    assert set(recipe["versions"]) == {
        "python", "keras_distill", "keras", "tensorflow", "numpy"
    }  # fmt: skip


def test_a_run_that_is_there_is_refused_and_untouched(run):
    (run / "student.keras").write_bytes(b"weeks of work")
    with pytest.raises(ValueError, match=r"--resume.*--overwrite.*Received: --out"):
        run_folder.check(run, ARGUMENTS)
    assert (run / "student.keras").read_bytes() == b"weeks of work"


def test_a_run_can_be_replaced_and_is_left_alone_until_the_new_one_begins(run):
    (run / "student.keras").write_bytes(b"old")
    assert run_folder.check(run, ARGUMENTS, overwrite=True) == "new"
    assert (run / "student.keras").exists()
    run_folder.begin(run, ARGUMENTS, DATA, {})
    assert {path.name for path in run.iterdir()} == {"recipe.json", "backup"}


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}])
def test_what_is_not_a_run_is_never_deleted(tmp_path, flags):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ValueError, match="something else than a run"):
        run_folder.check(tmp_path, ARGUMENTS, **flags)


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("...")
    with pytest.raises(ValueError, match="something else than a run"):
        run_folder.check(tmp_path / "file", ARGUMENTS, overwrite=True)


def test_resuming_asks_for_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no run to resume.*Received: --out"):
        run_folder.check(tmp_path / "typo", ARGUMENTS, resume=True)
    with pytest.raises(ValueError, match="one of --resume and --overwrite"):
        run_folder.check(tmp_path, ARGUMENTS, resume=True, overwrite=True)


def test_resuming_asks_for_the_same_arguments_and_names_those_that_differ(run):
    again = {**ARGUMENTS, "out": "./x", "resume": True}
    assert run_folder.check(run, again, resume=True) == "unfinished"
    with pytest.raises(ValueError, match=r"epochs \(was 4, now 9\)") as refusal:
        run_folder.check(run, {**again, "epochs": 9}, resume=True)
    assert "seed" not in str(refusal.value)


def test_resuming_asks_for_the_same_data(run):
    run_folder.check_data(run, DATA)
    with pytest.raises(ValueError, match="data have changed.*another fingerprint$"):
        run_folder.check_data(run, {**DATA, "fingerprint": "0b"})


def test_a_finished_run_has_metrics_and_no_backup(run):
    run_folder.finish(run, {"last": {}})
    assert not (run / "backup").exists()
    assert run_folder.check(run, ARGUMENTS, resume=True) == "finished"
