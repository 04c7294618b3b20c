"""The README's Python runs as it is printed, in order, as one program.

A block after the line `<!-- slow -->` takes minutes: it is run by `make test-slow`.
"""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).parent.parent / "README.md"
RESULTS = README.parent / "docs" / "results"
BLOCK = re.compile(
    r"(<!-- slow -->\n+)?^```python\n(.*?)^```", re.MULTILINE | re.DOTALL
)


def blocks():
    """`(line, whether it is slow, code)` of each block of Python."""
    text = README.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start(2))
        yield line, match[1] is not None, match[2]


def run(chosen, folder, monkeypatch):
    monkeypatch.chdir(folder)
    namespace = {"__name__": "readme"}
    for line, code in chosen:
        # Blank lines before it make a traceback point to the line of the README.
        exec(compile("\n" * line + code, str(README), "exec"), namespace)
    return namespace


def test_every_block_of_python_is_found():
    text = README.read_text(encoding="utf-8")
    assert len(list(blocks())) == len(re.findall("^```python", text, re.MULTILINE)) > 0
    assert text.count("<!-- slow -->") == sum(slow for _, slow, _ in blocks())


def test_every_block_is_python():
    for line, _, code in blocks():
        compile("\n" * line + code, str(README), "exec")


def test_the_verdict_is_that_of_the_tables_of_results():
    text = README.read_text(encoding="utf-8")
    verdict = text.partition("**The verdict.**")[2].partition("\n\n")[2]
    found = 0
    for line in verdict.partition("\n\n")[0].splitlines()[2:]:
        *_, worth, name = (cell.strip() for cell in line.strip("|").split("|"))
        bold = " ".join(re.findall(r"\*\*(.*?)\*\*", worth))
        for figure in re.findall(r"[+-]\d+\.\d+ ± \d+\.\d+", worth):
            table = RESULTS / name.strip("`") / "table.md"
            cell = f"**{figure}**" if figure in bold else figure
            assert f"| {cell} |" in table.read_text(encoding="utf-8"), line
            found += 1
    assert found > 10


def test_the_quick_blocks_run(tmp_path, monkeypatch):
    run(
        [(line, code) for line, slow, code in blocks() if not slow],
        tmp_path,
        monkeypatch,
    )


@pytest.mark.slow
def test_all_blocks_run(tmp_path, monkeypatch):
    run([(line, code) for line, _, code in blocks()], tmp_path, monkeypatch)
    assert (tmp_path / "student.keras").is_file()
