"""What holds for every program: its help fits a screen and its examples parse."""

import argparse
import importlib
import pathlib
import re
import shlex

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PROGRAMS = [
    f"{folder}.{path.stem}"
    for folder in ("train", "export")
    for path in sorted((ROOT / folder).glob("*.py"))
    if "command_line.run(main)" in path.read_text()
]


class Parsed(Exception):
    """The arguments were accepted."""


@pytest.fixture
def stop_when_parsed(monkeypatch):
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(*args, **kwargs):
        parse(*args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)


def help_of(program, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(program).main(["--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def commands(text):
    """The commands `python -m train...` and `python -m export...` of a text."""
    text = text.replace("\\\n", " ")
    return re.findall(r"python -m ((?:train|export)\.\w+[ \t]+[^\n#`|]+)", text)


def accepts(command):
    program, *arguments = shlex.split(command)
    with pytest.raises(Parsed):
        importlib.import_module(program).main(arguments)


def test_the_programs_are_found():
    assert {"train.embedder", "train.evaluate"} <= set(PROGRAMS)
    assert {"export.bundle", "export.search"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_help_fits_a_screen_and_has_an_example(program, capsys, monkeypatch):
    lines = help_of(program, capsys, monkeypatch).splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 80
    assert any(f"python -m {program} " in line for line in lines[-4:])


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_examples_of_the_help_parse(program, capsys, monkeypatch, stop_when_parsed):
    text = help_of(program, capsys, monkeypatch)
    examples = commands(text.partition("example:")[2])
    assert examples
    for command in examples:
        accepts(command)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_of_the_documents_parse(name, stop_when_parsed):
    text = (ROOT / name).read_text(encoding="utf-8")
    fenced = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for command in commands("\n".join(fenced)):
        accepts(command)


def test_the_commands_of_the_makefile_parse(stop_when_parsed):
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    values = dict(re.findall(r"^(\w+) := (.*)$", text, re.MULTILINE))
    found = re.findall(r"\$\((?:VENV|DEVICE)\) -m ((?:train|export)\.[^\n]*)", text)
    assert len(found) >= 4
    for command in found:
        command = re.sub(r"\$\(if \$\(wildcard [^,]*,([^)]*)\)", r"\1", command)
        while "$(" in command:
            command = re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], command)
        accepts(command)
