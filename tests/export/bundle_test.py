import json
import shutil

import numpy as np
import pytest

from export import bundle as program
from export import report
from keras_distill import data as kd_data
from keras_distill import device, retrieval
from tests import tiny_embedder


@pytest.fixture(scope="module")
def written(finished_run, tmp_path_factory):
    """The bundle that the program's defaults make of the run."""
    out = tmp_path_factory.mktemp("bundles") / "patterns"
    program.main([str(finished_run), "--out", str(out)])
    return out


@pytest.fixture
def asked(monkeypatch):
    """What the program asks to be written, instead of writing it."""
    arguments = {}
    manifest = json.loads((tiny_embedder.bundle() / "manifest.json").read_text())

    def write_bundle(out, student, **others):
        arguments.update(out=out, student=student, **others)
        return manifest

    monkeypatch.setattr(retrieval, "write_bundle", write_bundle)
    return arguments


def test_the_classes_the_run_held_out_are_the_catalogue(written):
    bundle = device.open_bundle(written)
    assert set(bundle.classes) == {f"pattern2{i}" for i in range(4)}
    assert len(bundle) == 20
    assert bundle.manifest["models"]["int8"]["images"] == 20
    assert bundle.manifest["models"]["int8"]["cosine_mean"] > 0.999
    assert bundle.check_golden()["top_1_same"] == 1.0


def test_it_is_calibrated_on_the_images_that_were_trained_on(finished_run, asked, data):
    program.main([str(finished_run), "--out", "bundles/a"])
    train = kd_data.image_folder(data, 32).take_classes(
        lambda name: not name.startswith("pattern2")
    )
    trained_on = {image.tobytes() for image in train.arrays()[0]}
    assert len(asked["calibration"]) == 100
    assert {image.tobytes() for image in asked["calibration"]} == trained_on
    assert asked["recipe"]["arguments"]["eval_classes"] == ["pattern2*"]
    np.testing.assert_allclose(
        asked["student"].get_weights()[0], tiny_embedder.student().get_weights()[0]
    )


def test_no_more_images_than_needed_are_sampled_and_the_seed_says_which():
    images = tiny_embedder.catalogue()
    first, again, other = (program._sample(images, 30, seed) for seed in (1, 1, 2))
    assert first.shape == (30, 32, 32, 1)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_another_folder_is_a_catalogue_whole(finished_run, asked, data, tmp_path):
    copy = shutil.copytree(data, tmp_path / "mine")
    command = [str(finished_run), "--out", "bundles/a", "--catalogue", str(copy)]
    program.main(command)
    assert len(asked["catalogue"].class_names) == 24
    assert len(asked["held_out"]) == 20  # still those of the run
    program.main([*command, "--eval-classes", "pattern0*", "pattern13"])
    assert len(asked["catalogue"].class_names) == 11
    with pytest.raises(ValueError, match="such as pattern00.*Received: .'none'"):
        program.main([*command, "--eval-classes", "none"])


def test_naming_the_data_of_the_run_means_its_held_out_classes(
    finished_run, asked, data
):
    program.main([str(finished_run), "--out", "bundles/a", "--catalogue", str(data)])
    assert len(asked["catalogue"].class_names) == 4


def test_the_whole_data_set_may_be_the_catalogue(finished_run, asked, data):
    command = [str(finished_run), "--out", "bundles/a", "--whole"]
    program.main(command)
    assert len(asked["catalogue"]) == 120 and asked["thumbnails"] is True
    assert asked["recipe"]["export"] == {"whole": True}
    assert asked["neighbours"] == 10
    flags = ["--no-thumbnails", "--neighbours", "40"]
    program.main([*command, "--per-class", "2", *flags])
    assert asked["neighbours"] == 40
    labels = asked["catalogue"].labels.tolist()
    assert labels == sorted([*range(24)] * 2) and asked["thumbnails"] is False
    assert asked["catalogue"].ids[:4] == (
        "pattern00/0.png",
        "pattern00/2.png",
        "pattern01/5.png",
        "pattern01/7.png",
    )
    program.main([*command, "--per-class", "9", "--eval-classes", "pattern0*"])
    assert len(asked["catalogue"]) == 50


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--per-class", "0"], "--per-class must be at least 1.*--per-class 0"),
        (["--whole", "--catalogue", "tfds:x"], "of glyphs or of a folder.*tfds:x"),
    ],
)
def test_a_catalogue_that_cannot_be_is_refused(finished_run, asked, flags, message):
    with pytest.raises(ValueError, match=message):
        program.main([str(finished_run), "--out", "bundles/a", *flags])


def test_flags_set_the_budget_and_the_runtimes(finished_run, asked):
    command = [str(finished_run), "--out", "bundles/a"]
    program.main(command)
    assert (asked["max_drop"], asked["runtimes"]) == (0.5, [])
    program.main([*command, "--max-drop", "1.5", "--runtime", "a", "--runtime", "b"])
    assert (asked["max_drop"], asked["runtimes"]) == (1.5, ["a", "b"])


def test_a_student_may_be_trained_for_8_bits(finished_run, asked, capsys):
    command = [str(finished_run), "--out", "bundles/a"]
    program.main(command)
    assert asked["mode"] == "int8"
    program.main([*command, "--mode", "int8-qat"])
    assert asked["mode"] == "int8-qat"
    with pytest.raises(SystemExit):
        program.main([*command, "--mode", "float16"])
    assert "'float16'" in capsys.readouterr().err


@pytest.mark.slow
def test_the_better_file_is_in_the_bundle(finished_run, tmp_path, capsys):
    command = [str(finished_run), "--out", str(tmp_path / "a"), "--mode", "int8-qat"]
    program.main(command)
    said = " ".join(capsys.readouterr().out.split())
    bundle = device.open_bundle(tmp_path / "a")
    facts = bundle.manifest["models"]["int8"]["quantization_aware"]
    assert (facts["images"], facts["held_out"]) == (80, 20)
    assert facts["trained"] is (facts["cosine_after"] > facts["cosine_before"])
    assert f"from {facts['cosine_before']:.6f} to {facts['cosine_after']:.6f}" in said
    assert bundle.manifest["models"]["int8"]["cosine_mean"] > 0.999
    assert bundle.check_golden()["cosine_min"] > 0.999


def test_prints_a_table_of_what_was_measured_and_every_path(
    finished_run, asked, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "100")
    program.main([str(finished_run), "--out", "bundles/a"])
    said = capsys.readouterr()
    lines = said.out.splitlines()
    models = json.loads((tiny_embedder.bundle() / "manifest.json").read_text())[
        "models"
    ]
    ratio = models["int8"]["bytes"] / models["float32"]["bytes"]
    for label, value in [
        ("size, kB", f"{models['int8']['bytes'] / 1000:,.1f} ({ratio:.2f})"),
        ("mean cosine", f"{models['int8']['cosine_mean']:.5f}"),
        ("least cosine", f"{models['int8']['cosine_min']:.5f}"),
        ("Recall@1, %", f"{100 * models['float32']['recall_at_1']:.2f}"),
        ("ms an image", f"{models['int8']['milliseconds']:.3f}"),
    ]:
        (line,) = (line for line in lines if label in line)
        assert value in line
    for name in ("embed_int8.tflite", "golden.npz", "scann/dataset.npy"):
        assert any(line.endswith(f"bundles/a/{name}") for line in lines)
    assert said.err == ""  # no progress where there is no terminal


def test_prints_the_same_figures_as_json(finished_run, asked, capsys):
    program.main([str(finished_run), "--out", "bundles/a", "--json"])
    result = json.loads(capsys.readouterr().out)
    manifest = json.loads((tiny_embedder.bundle() / "manifest.json").read_text())
    assert result["bundle"] == "bundles/a"
    for name in ("models", "catalogue", "student", "retrieval"):
        assert result[name] == manifest[name]


def test_what_is_there_is_refused_before_anything_is_read(written, tmp_path):
    command = [str(tmp_path / "no run"), "--out", str(written)]
    with pytest.raises(FileExistsError, match=f"exists already.*out={written}"):
        program.main(command)
    with pytest.raises(FileNotFoundError, match="finished run"):
        program.main([*command, "--overwrite"])
    assert device.open_bundle(written)
    (tmp_path / "letter.txt").touch()
    with pytest.raises(ValueError, match="no bundle"):
        program.main(["runs/a", "--out", str(tmp_path), "--overwrite"])


def test_what_is_no_finished_run_is_refused(finished_run, tmp_path):
    with pytest.raises(FileNotFoundError, match="without recipe.json"):
        program.main([str(tmp_path), "--out", str(tmp_path / "out")])
    copy = shutil.copytree(finished_run, tmp_path / "run")
    for text in ("{", "[]", '{"seed": 0}'):
        (copy / "recipe.json").write_text(text)
        with pytest.raises(ValueError, match="must be JSON.*recipe.json"):
            program.main([str(copy), "--out", str(tmp_path / "out")])
    (copy / "student.keras").unlink()
    with pytest.raises(FileNotFoundError, match="without student.keras"):
        program.main([str(copy), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_catalogue_that_does_not_exist_is_refused(finished_run, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="'nothing'"):
        program.main([str(finished_run), "--out", str(out), "--catalogue", "nothing"])
    assert not out.exists()


def test_a_file_for_the_task_library_is_written_when_asked(finished_run, asked):
    program.main([str(finished_run), "--out", "bundles/a"])
    assert asked["task_library"] is False
    program.main([str(finished_run), "--out", "bundles/a", "--task-library"])
    assert asked["task_library"] is True


def test_the_report_says_what_the_task_library_gets(capsys):
    manifest = json.loads((tiny_embedder.bundle() / "manifest.json").read_text())
    report.show(tiny_embedder.bundle(), manifest)
    said = " ".join(capsys.readouterr().out.split())
    assert "task_searcher.tflite, for the Task Library: every search looks at" in said
    assert "of the ten nearest it finds 100.00 %" in said
    manifest["task_library"]["index"].update(kind="tree", searched=3, partitions=9)
    report.show(tiny_embedder.bundle(), manifest)
    said = " ".join(capsys.readouterr().out.split())
    assert "a search looks into 3 of 9 parts" in said
