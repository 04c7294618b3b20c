"""The public names are a list: complete, importable, documented, one class a file."""

import ast
import importlib
import inspect
import pathlib

import pytest

import keras_distill as kd

ROOT = pathlib.Path(__file__).parent.parent / "keras_distill"
PACKAGES = sorted(
    f"keras_distill.{path.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
    for path in ROOT.rglob("*/__init__.py")
)
MODULES = [*PACKAGES, "keras_distill.similarity"]


def public(module):
    """`(name, object)` of each public name that is a function or a class."""
    module = importlib.import_module(module)
    for name in getattr(module, "__all__", vars(module)):
        thing = getattr(module, name)
        if name[0] != "_" and (inspect.isclass(thing) or inspect.isfunction(thing)):
            yield name, thing


def test_every_name_of_the_library_can_be_imported():
    assert len(set(kd.__all__)) == len(kd.__all__)
    for name in kd.__all__:
        assert getattr(kd, name) is not None
    assert set(dir(kd)) == set(kd.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        kd.nonsense  # noqa: B018


def test_every_package_is_a_name_of_the_library():
    names = {package.split(".")[1] for package in MODULES}
    assert names <= set(kd.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_and_lists_its_names(package):
    module = importlib.import_module(package)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    held = {
        name
        for name, thing in vars(module).items()
        if name[0] != "_" and not inspect.ismodule(thing)
    }
    assert set(module.__all__) == held


@pytest.mark.parametrize("module", MODULES)
def test_every_public_thing_is_documented(module):
    for name, thing in public(module):
        where = f"{module}.{name}"
        text = inspect.getdoc(thing) or ""
        assert len(text) > 20, f"{where} has no docstring"
        for argument in _arguments(thing):
            assert argument in text, f"{where} does not say what `{argument}` is"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.stem)
def test_a_file_holds_one_public_class_and_is_named_after_what_it_holds(path):
    tree = ast.parse(path.read_text())
    assert path.stem in ("__init__", "version") or ast.get_docstring(tree)
    package = ".".join(path.relative_to(ROOT.parent).parent.parts)
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and node.name in importlib.import_module(package).__all__
    ]
    classes = [node for node in public if isinstance(node, ast.ClassDef)]
    assert len([node for node in classes if not _is_plain_data(node)]) <= 1
    if classes:  # relational.py may hold RelationalKL
        names = [node.name.replace("_", "").lower() for node in public]
        assert any(name.startswith(path.stem.replace("_", "")) for name in names)


def _arguments(thing):
    try:
        parameters = inspect.signature(thing).parameters
    except ValueError:  # some built-in base has no signature
        return []
    return [name for name in parameters if name not in ("self", "args", "kwargs")]


def _is_plain_data(node):
    """Named tuples and dataclasses stay beside the function that returns them."""
    bases = {ast.unparse(base) for base in node.bases}
    marks = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return bool(bases & {"typing.NamedTuple", "NamedTuple"}) or "dataclass" in marks
