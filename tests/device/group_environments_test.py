"""Several images as one query where it belongs: one runtime, numpy, no TensorFlow."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from keras_distill import device
from tests import tiny_scorer
from tests.device.environments import run


@pytest.mark.parametrize(
    "mode, most, mean, least",
    [("float32", 1e-5, 1e-6, 0.999999), ("int8", 0.08, 0.01, 0.998)],
)
def test_both_files_score_as_keras_does(python, mode, most, mean, least, tmp_path):
    images, _ = tiny_scorer.images()
    np.savez(tmp_path / "in.npz", images=images)
    (tmp_path / "model.tflite").write_bytes(tiny_scorer.converted(mode))
    program = (
        "import sys, pathlib, numpy as np, keras_distill.device as d\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "s = d.Scorer((folder / 'model.tflite').read_bytes())\n"
        "np.save(folder / 'out.npy', s.score(np.load(folder / 'in.npz')['images']))"
    )
    run(python, "-c", program, tmp_path)
    scores = np.load(tmp_path / "out.npy")
    expected = np.asarray(tiny_scorer.scorer()(images.astype("float32")))[:, 0]
    differences = np.abs(scores - expected)
    assert differences.max() < most and differences.mean() < mean
    assert stats.spearmanr(scores, expected).statistic > least


def test_the_golden_images_and_group_are_as_at_the_export(python, runtime):
    program = (
        "import json, sys, keras_distill.device as d\n"
        "print(json.dumps(d.open_bundle(sys.argv[1]).check_golden()))"
    )
    found = json.loads(run(python, "-c", program, tiny_scorer.bundle()))
    assert found["runtime"] == runtime
    assert found["image_score_difference"] <= 0.05
    assert found["group_weight_difference"] <= 1e-6
    assert found["group_cosine"] >= 0.995
    assert (found["group_images"], found["group_embedded"]) == (5, 3)


def test_the_search_program_asks_as_a_group_there(python, tmp_path):
    images = tiny_scorer.images()[0][20:25]
    files = [tmp_path / f"{row}.png" for row in range(5)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image[..., 0]).save(file)
    command = ["-m", "export.search", tiny_scorer.bundle(), *files, "--group"]
    found = json.loads(run(python, *command, "--keep", "2", "--json"))
    here = device.open_bundle(tiny_scorer.bundle()).search_group(images, keep=2)
    for member, file, score in zip(
        found["images"], files, here.group.scores, strict=True
    ):
        assert member["image"] == str(file)
        assert member["score"] == pytest.approx(score, abs=0.05)
    assert found["embedded"] == 2 == sum(m["embedded"] for m in found["images"])
    assert found["neighbours"][0]["score"] == pytest.approx(here.scores[0], abs=0.05)
    # Without rich it prints plain lines.
    lines = run(python, *command, "--k", "3").splitlines()
    assert lines[0] == "5 images as one query, 3 of them embedded"
    assert lines[1].split() == ["score", "weight", "embedded", "image"]
    assert [line.split()[3] for line in lines[2:7]] == [str(file) for file in files]
    # Before the neighbours a sentence, where the threshold takes none for a match.
    neighbours = [one for one in lines[7:] if "not in the catalogue" not in one]
    assert [line.split()[0] for line in neighbours] == ["1", "2", "3"]
