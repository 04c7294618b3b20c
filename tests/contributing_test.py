"""The worked example of CONTRIBUTING.md works: one file, one test, one row."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PARTS = ("keras_distill", "train", "export", "tests")
FILES = ("setup.cfg", "pyproject.toml", "ruff.toml", "README.md", "CONTRIBUTING.md")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the project with what the example adds, and nothing else."""
    copy = tmp_path_factory.mktemp("checkout")
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "node_modules", "reference")
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    text = text.partition("## Adding a method")[2]
    method, test, row = re.findall("^```python\n(.*?)^```", text, re.M | re.S)
    (path,) = re.findall(r"\*\*The file\*\*, `(.*?)`", text)
    (test_path,) = re.findall(r"\*\*The test\*\*, `(.*?)`", text)
    (table,) = re.findall(r"\*\*The row\*\* in the table of `(.*?)`", text)
    (copy / path).write_text(method)
    (copy / test_path).write_text(test)
    rows = (copy / table).read_text()
    (copy / table).write_text(rows.replace("\n__all__ = ", f"{row}\n__all__ = "))
    return copy


def run(checkout, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_code_has_the_style_of_the_house(checkout):
    folders = ("keras_distill/methods", "tests/methods")
    run(checkout, "ruff", "check", *folders)
    run(checkout, "ruff", "format", "--check", *folders)


def test_its_own_test_and_those_of_the_house_pass(checkout):
    own = ("tests/methods/uniformity_test.py", "tests/public_names_test.py")
    house = ("tests/layering_test.py", "tests/registry_test.py")
    run(checkout, "pytest", "-q", *own, *house)


def test_the_program_trains_with_it(checkout, tmp_path):
    from PIL import Image

    for number in range(16):
        path = tmp_path / "pictures" / str(number // 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), 16 * number).save(path)
    said = run(
        checkout,
        *("train.embedder", "--data", str(tmp_path / "pictures")),
        *("--method", "uniformity", "--method-options", "weight=0.5"),
        *("--image-size", "16", "--dim", "4", "--epochs", "1"),
        *("--classes-per-batch", "3", "--images-per-class", "2"),
        *("--out", str(tmp_path / "run")),
    )
    assert "MAP@R" in said
    header = (tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert "uniformity_potential" in header
