"""Imports point one way: tests -> train, export -> keras_distill -> its device part."""

import ast
import configparser
import importlib.util
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ON_THE_DEVICE = {"numpy", "keras_distill.device"}
ON_THE_DEVICE_WHEN_NEEDED = {"PIL", "ai_edge_litert", "tflite_runtime", "scann"}
# Where the name of a distribution is not that of its module.
MODULES = {"faiss_cpu": "faiss", "fonttools": "fontTools", "pillow": "PIL"}


def imports(path):
    """Yields `(line, dotted name, inside a function)` of all that a file imports."""
    tree = ast.parse(path.read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    package = ".".join(path.relative_to(ROOT).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name(
                "." * node.level + (node.module or ""), package
            )
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name, id(node) in inside) for name in names)


def below(name, packages):
    return any(
        name == package or name.startswith(f"{package}.") for package in packages
    )


def offences(folder, allowed):
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name, inside in imports(path)
        if not allowed(name, inside)
    ]


@pytest.mark.parametrize(
    "folder, forbidden",
    [
        ("keras_distill", ["train", "export", "tests"]),
        ("train", ["export", "tests"]),
        ("export", ["train", "tests"]),
    ],
)
def test_imports_run_one_way(folder, forbidden):
    assert list((ROOT / folder).rglob("*.py"))
    assert not offences(folder, lambda name, inside: not below(name, forbidden))


def test_the_parts_of_the_library_import_one_way():
    """No part is imported, at the top of a file, by what it needs itself."""
    needs = {}
    for path in sorted((ROOT / "keras_distill").rglob("*.py")):
        part = path.relative_to(ROOT / "keras_distill").parts[0].removesuffix(".py")
        if part == "__init__":
            continue  # which imports what it offers when it is asked for
        names = [name for _, name, inside in imports(path) if not inside]
        parts = {n.split(".")[1] for n in names if n.startswith("keras_distill.")}
        needs.setdefault(part, set()).update(parts - {part})
    assert {"layers", "models", "methods", "callbacks"} <= {*needs}
    while needs:
        free = [part for part, others in needs.items() if not others & {*needs}]
        assert free, f"a circle of imports: {needs}"
        for part in free:
            del needs[part]


def test_the_device_part_needs_numpy_and_an_interpreter_and_no_more():
    def allowed(name, inside):
        return (
            name.split(".")[0] in sys.stdlib_module_names
            or below(name, ON_THE_DEVICE)
            or (inside and below(name, ON_THE_DEVICE_WHEN_NEEDED))
        )

    assert not offences("keras_distill/device", allowed)


def distributions(section, option):
    """What `setup.cfg` declares, as module names."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config[section][option].split("\n")
    names = [re.match(r"[\w-]*", line)[0].lower().replace("-", "_") for line in lines]
    return {MODULES.get(name, name) for name in names if name}


@pytest.mark.parametrize("folder", ["keras_distill", "train", "export"])
def test_what_is_imported_is_declared(folder):
    needed = distributions("options", "install_requires")
    optional = {"tflite_runtime"}  # what stands in for ai_edge_litert on a device
    extras = ["export", "detect", "tfds"]
    extras += ["test", "benchmark"] if folder != "keras_distill" else []
    for extra in extras:
        optional |= distributions("options.extras_require", extra)

    def allowed(name, inside):
        top = name.split(".")[0]
        ours = top in sys.stdlib_module_names or top in ("keras_distill", folder)
        return ours or top in needed or (inside and top in optional)

    assert not offences(folder, allowed)


def test_this_test_sees_an_import_in_every_form(tmp_path, monkeypatch):
    folder = tmp_path / "keras_distill" / "device"
    folder.mkdir(parents=True)
    (folder / "bad.py").write_text(
        "import keras.layers as layers\n"
        "from keras_distill import data\n"
        "from .. import losses\n"
        "def f():\n    from PIL import Image\n    import tensorflow\n"
    )
    monkeypatch.setattr("tests.layering_test.ROOT", tmp_path)
    assert list(imports(folder / "bad.py")) == [
        (1, "keras.layers", False),
        (2, "keras_distill.data", False),
        (3, "keras_distill.losses", False),
        (5, "PIL.Image", True),
        (6, "tensorflow", True),
    ]


def test_nothing_that_is_saved_is_defined_in_a_program():
    for path in [*(ROOT / "train").rglob("*.py"), *(ROOT / "export").rglob("*.py")]:
        assert "register_keras_serializable" not in path.read_text(), path


def test_there_is_no_drawer_for_odds_and_ends():
    assert not [
        path
        for folder in ("keras_distill", "train", "export", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.stem in {"util", "utils", "helpers", "misc", "common"}
        and "node_modules" not in path.parts
    ]


PROGRAMS = [
    f"{folder}.{path.stem}"
    for folder in ("train", "export")
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.stem != "__init__" and "command_line.run(" in path.read_text()
]

HEAVY = {"tensorflow", "keras", "scann", "matplotlib"}


def test_what_must_start_quickly_imports_neither_keras_nor_tensorflow():
    modules = ["keras_distill", "keras_distill.device", "keras_distill.command_line"]
    code = (
        "import importlib, sys\n"
        f"for name in {modules + PROGRAMS}:\n"
        "    importlib.import_module(name)\n"
        f"    heavy = {HEAVY} & set(sys.modules)\n"
        "    if heavy: sys.exit(f'{name} imports {heavy}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
