"""What an installation from the package index would get."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PARTS = ("keras_distill", "train", "export", "tests")
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds from a copy, because a stale `build/` would get into the wheel."""
    copy = tmp_path_factory.mktemp("copy")
    for part in PARTS:
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / part, copy / part, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-q"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (copy / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_holds_the_library_and_no_program(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "keras_distill"
    }


def test_holds_every_module_of_the_library(wheel):
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keras_distill").rglob("*.py")
    }
    assert modules <= set(wheel.namelist())


def test_says_that_it_is_typed_and_under_which_licence(wheel):
    names = wheel.namelist()
    assert "keras_distill/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_its_metadata_name_the_version_and_every_extra(wheel):
    (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    lines = wheel.read(name).decode().splitlines()
    version = {}
    exec((ROOT / "keras_distill" / "version.py").read_text(), version)
    assert f"Version: {version['__version__']}" in lines
    extras = {
        line.split(": ")[1] for line in lines if line.startswith("Provides-Extra: ")
    }
    assert extras == {"export", "detect", "tfds", "benchmark", "all", "test"}
