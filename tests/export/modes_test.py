import json
import zlib

import numpy as np
import pytest

from export import modes as program
from keras_distill import device, metrics, tflite
from tests import tiny_embedder


@pytest.fixture(scope="module")
def rows():
    images, labels = tiny_embedder.images()
    return program.measured(
        tiny_embedder.student(),
        np.zeros((10, 32, 32, 1), np.uint8),  # spoils the file of int8
        images,
        labels,
        ["float16", "int8"],
    )


def test_every_mode_has_its_size_and_its_retrieval(rows):
    images, labels = tiny_embedder.images()
    assert [row["mode"] for row in rows] == ["Keras", "float32", "float16", "int8"]
    model = tflite.convert(tiny_embedder.student(), "float16")
    half = rows[2]
    assert half["bytes"] == len(model) and half["failed"] is None
    assert half["zip_bytes"] == len(zlib.compress(model, 9)) < half["bytes"]
    found = device.Embedder(model).embed(images)
    assert half["recall_at_1"] == metrics.recall_at_k(found, labels, 1)
    assert half["milliseconds"] > 0


def test_of_int8_qat_it_says_which_student_was_kept(monkeypatch, capsys):
    images, labels = tiny_embedder.images()
    student = tiny_embedder.student()
    taught = tflite.QuantizationAware(student, False, 0.75, 0.5, 96, 24)
    monkeypatch.setattr(tflite, "quantization_aware", lambda *_: taught)
    done = {mode: tiny_embedder.converted(mode) for mode in ("float32", "int8")}
    monkeypatch.setattr(tflite, "convert", lambda _, mode, __: done[mode])
    some = tiny_embedder.calibration()
    rows = program.measured(student, some, images, labels, ["int8", "int8-qat"])
    int8, trained = rows[2:]
    assert trained["quantization_aware"] == taught.facts()
    # The student as it was gives the file of int8.
    assert trained["bytes"] == int8["bytes"] and trained["failed"] is None
    assert trained["cosine_mean"] == int8["cosine_mean"]
    program.show(rows, "tiny")
    said = " ".join(capsys.readouterr().out.split())
    assert "int8-qat: trained for 8 bits on 96 images" in said
    assert "over 24 others from 0.750000 to 0.500000: not kept" in said


def test_a_file_that_fails_a_check_is_named_with_it(rows, capsys, monkeypatch):
    assert [row["failed"] for row in rows] == [None, None, None, "cosine"]
    assert rows[3]["cosine_min"] < 0.98
    monkeypatch.setenv("COLUMNS", "200")
    program.show(rows, "tiny")
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if "int8" in line)
    assert "cosine" in line and f"{rows[3]['cosine_min']:.5f}" in line


def test_the_program_reads_a_run_and_prints_json(finished_run, monkeypatch, capsys):
    asked = {}

    def measured(student, calibration, images, labels, modes, compress):
        asked.update(locals())
        return [{"mode": "Keras"}]

    monkeypatch.setattr(program, "measured", measured)
    command = [str(finished_run), "--json", "--modes", "float32", "dynamic"]
    program.main([*command, "--calibration", "30"])
    assert json.loads(capsys.readouterr().out) == [{"mode": "Keras"}]
    assert asked["modes"] == ["dynamic"] and len(asked["calibration"]) == 30
    assert asked["images"].shape == (20, 32, 32, 1) and len(asked["labels"]) == 20
    assert asked["compress"] is None
    program.main([*command, "--compress", "--epochs", "3"])
    assert asked["compress"] == 3


def test_an_unknown_mode_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="one of 'float32'.*Received: mode='int4'"):
        program.main([str(tmp_path), "--modes", "int8", "int4"])
    with pytest.raises(ValueError, match="--calibration.*Received: 0"):
        program.main([str(tmp_path), "--calibration", "0"])
    with pytest.raises(ValueError, match="--epochs.*Received: 0"):
        program.main([str(tmp_path), "--epochs", "0"])


def test_compressed_students_are_in_the_table_beside_the_modes(monkeypatch):
    student, other = tiny_embedder.student(), tiny_embedder.student("conv4")
    asked, labels = [], tiny_embedder.images()[1]
    exact = tiny_embedder.converted("float32")
    model = tiny_embedder.converted("int8", "conv4")

    def compressed(student, images, epochs, **how):
        asked.append((len(images), epochs, how))
        return other

    def convert(network, mode, calibration):
        assert mode == ("int8" if network is other else "float32")
        return model if network is other else exact

    monkeypatch.setattr(tflite, "compressed", compressed)
    monkeypatch.setattr(tflite, "convert", convert)
    some = tiny_embedder.calibration()
    rows = program.measured(student, some, tiny_embedder.images()[0], labels, [], 5)
    names = [name for name, _ in program.COMPRESSED]
    assert [row["mode"] for row in rows] == ["Keras", "float32", *names]
    assert asked == [(120, 5, how) for _, how in program.COMPRESSED]
    found = device.Embedder(model).embed(tiny_embedder.images()[0])
    for row, (_, how) in zip(rows[2:], program.COMPRESSED, strict=True):
        assert row["zip_bytes"] == len(zlib.compress(model, 9))
        assert row["recall_at_1"] == metrics.recall_at_k(found, labels, 1)
        assert how.items() <= row.items() and row["epochs"] == 5
        assert row["failed"] is not None  # of another student
