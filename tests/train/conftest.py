"""A small data set and a short run on it, made once for all tests of the programs."""

import numpy as np
import pytest
from PIL import Image

from tests.train.tiny_comparison import TAUGHT, Played, ran, taught
from train import embedder

SHORT = [
    *("--eval-classes", "bars/7*", "bars/8*", "--image-size", "16", "--dim", "8"),
    *("--method-options", "dims=16,24", "feature_delay=2", "--learning-rate", "0.01"),
    *("--validation-classes", "0.25"),
    *("--classes-per-batch", "4", "--images-per-class", "3", "--epochs", "6"),
]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of classes `bars/10` ... `bars/89`: a bar turned by so many degrees."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    for degrees in range(10, 90, 8):
        angle = np.deg2rad(2 * degrees)
        (folder / "bars" / str(degrees)).mkdir(parents=True)
        for number in range(6):
            offset = rng.uniform(-0.3, 0.3)
            distance = np.abs(np.sin(angle) * x + np.cos(angle) * y - offset)
            grey = 255 * (distance > 0.25) * rng.uniform(0.8, 1) + rng.normal(0, 8)
            image = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
            image.save(folder / "bars" / str(degrees) / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def finished_run(pictures, tmp_path_factory):
    """Folder of a run of the `SHORT` arguments that was not interrupted."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    embedder.main(["--data", str(pictures), "--out", str(out), *SHORT])
    return out


@pytest.fixture(scope="session")
def finished_comparison(pictures, tmp_path_factory):
    """A folder where `taught` was run with a method that diverges, and `runs.json`."""
    folder = tmp_path_factory.mktemp("taught")
    lost = {"methods": [], "optimizer": {"learning_rate": 1e30}}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _, whole = ran(folder, taught(pictures, methods={**TAUGHT, "lost": lost}))
    return folder, whole


@pytest.fixture
def played(monkeypatch):
    """Runs of a comparison that take no time, and the list of their jobs."""
    return Played(monkeypatch)
