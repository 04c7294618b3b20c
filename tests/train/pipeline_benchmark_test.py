import re

import numpy as np
import pytest
from PIL import Image

from keras_distill import data
from train import pipeline_benchmark


@pytest.fixture
def few_glyphs(monkeypatch):
    """Forty classes of eight random images in place of the glyphs."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (320, 32, 32, 1), np.uint8)
    images = data.ImageSet(pixels, np.arange(320) // 8)
    monkeypatch.setattr(data, "load", lambda *_: (images, images))


def test_it_prints_rates_from_memory_from_files_and_of_training(few_glyphs, capsys):
    pipeline_benchmark.main(["--seconds", "0.2"])
    out = capsys.readouterr().out
    rates = [int(rate.replace(",", "")) for rate in re.findall(r" ([\d,]+)(?=\s)", out)]
    assert "28 classes x 4 images" in out
    assert len(out.splitlines()) == 6 and min(rates[-5:]) > 50


def test_a_folder_of_the_user_is_read(few_glyphs, capsys, tmp_path):
    for row in range(12):
        (tmp_path / str(row // 3)).mkdir(exist_ok=True)
        Image.new("L", (50, 40), row).save(tmp_path / str(row // 3) / f"{row}.png")
    few = ["--classes", "4", "--per-class", "3", "--seconds", "0.1"]
    pipeline_benchmark.main(["--folder", str(tmp_path), *few])
    assert "files, decoded in each epoch" in capsys.readouterr().out


def test_no_time_is_refused():
    with pytest.raises(ValueError, match=r"--seconds must be positive.*: 0\.0"):
        pipeline_benchmark.main(["--seconds", "0"])
