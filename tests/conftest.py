"""What every test shares: quiet TensorFlow, a fixed seed, and where data lie."""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent
REAL_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def fixed_seed():
    """Every test begins with the same weights, whichever ran before it."""
    np.random.seed(0)
    if "keras" in sys.modules:  # Not imported for its sake: that takes seconds.
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture
def reference():
    """Loads a file of figures made by a reference implementation."""

    def load(name):
        with np.load(ROOT / "tests" / "reference" / f"{name}.npz") as file:
            return dict(file)

    return load


@pytest.fixture
def real_data():
    """The folder of a real data set; the test is skipped where it is missing."""

    def find(name):
        folder = REAL_DATA / name
        if not folder.is_dir():
            pytest.skip(f"needs the real data in {folder}")
        return folder

    return find
