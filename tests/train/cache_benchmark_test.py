import re

import numpy as np
import pytest

from keras_distill import data
from train import cache_benchmark

FEW = [
    *("--student", "separable", "--teacher", "conv4", "--dim", "8", "--images", "40"),
    *("--views", "2", "--classes", "4", "--per-class", "2", "--steps", "2"),
    *("--rounds", "1"),
]


def test_it_prints_steps_what_the_cache_costs_and_when_it_pays(monkeypatch, capsys):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (48, 16, 16, 1), np.uint8)
    images = data.ImageSet(pixels, np.arange(48) // 4)
    monkeypatch.setattr(data, "load", lambda *_: (images, images))
    cache_benchmark.main(["--image-size", "16", *FEW])
    out = capsys.readouterr().out
    assert "separable of 32 dimensions learning from conv4 of 8" in out
    assert "40 images in 2 views, batches of 4 classes x 2 images" in out
    rates = re.findall(r"^(?:student|teacher) .*? +([\d.]+)$", out, re.MULTILINE)
    assert len(rates) == 3 and min(map(float, rates)) > 0.1
    assert re.search(r"took [\d.]+ s, [\d.]+ ms for each view.*pays .* of 5 steps", out)
    assert re.search(r"has 0\.0 MB of embeddings, and [\d.]+ MB to know teacher", out)


@pytest.mark.parametrize("name", ["images", "views", "steps", "rounds", "image-size"])
def test_nothing_to_measure_is_refused(name):
    with pytest.raises(ValueError, match=f"--{name} must be at least 1. Received: 0"):
        cache_benchmark.main([f"--{name}", "0"])
