import json

import keras
import pytest

from train import evaluate

EVAL = ["--eval-classes", "bars/7*", "bars/8*"]


def measured(capsys, *arguments):
    evaluate.main([*map(str, arguments), "--json"])
    return json.loads(capsys.readouterr().out)


def test_agrees_with_what_the_run_measured(finished_run, pictures, capsys):
    result = measured(capsys, finished_run / "student.keras", "--data", pictures, *EVAL)
    metrics = json.loads((finished_run / "metrics.json").read_text())
    for name, value in metrics["last"]["evaluation"].items():
        assert result[name] == pytest.approx(value, abs=1e-6), name
    assert (result["classes"], result["images"]) == (2, 12)
    assert result["skipped_images"] == 0


def test_takes_the_folder_of_a_run_and_any_part_of_the_classes(
    finished_run, pictures, capsys
):
    data = ["--data", pictures, *EVAL]
    counts = {
        part: measured(capsys, finished_run, *data, "--classes", part)["images"]
        for part in ("train", "evaluation", "all")
    }
    assert counts == {"train": 48, "evaluation": 12, "all": 60}


def test_prints_a_table_of_percentages(finished_run, pictures, capsys):
    result = measured(capsys, finished_run, "--data", pictures, *EVAL)
    evaluate.main([str(finished_run), "--data", str(pictures), *EVAL])
    said = capsys.readouterr().out
    assert "R@1" in said and "MAP@R" in said
    assert f"{100 * result['recall_at_1']:.2f}" in said


def test_takes_an_embedder_that_was_made_elsewhere(pictures, tmp_path, capsys):
    inputs = keras.Input((12, 10, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)))
    model.save(tmp_path / "other.keras")
    result = measured(capsys, tmp_path / "other.keras", "--data", pictures, *EVAL)
    assert 0 <= result["recall_at_1"] <= 1


def test_a_model_without_an_image_size_is_refused(pictures, tmp_path):
    inputs = keras.Input((None, None, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    keras.Model(inputs, pooled).save(tmp_path / "any.keras")
    with pytest.raises(ValueError, match=r"images of one size.*\(None, None, None, 1"):
        evaluate.main([str(tmp_path / "any.keras"), "--data", str(pictures)])


def test_a_missing_model_is_named(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no model here.*none\.keras$"):
        evaluate.main([str(tmp_path / "none.keras"), "--data", str(pictures)])
