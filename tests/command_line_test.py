import errno
import subprocess
import sys
import warnings

import pytest

from keras_distill import command_line


@pytest.fixture(autouse=True)
def own_format(monkeypatch):
    """What `run` changes for its process ends with a test."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)


def ending(main, capsys):
    with pytest.raises(SystemExit) as stop:
        command_line.run(main)
    return stop.value.code, capsys.readouterr()


def failing(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("Unknown loss.\n  Received: loss='x'"), "Unknown loss. Received"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.keras"), "a.keras"),
        (OSError(errno.ENOSPC, "No space left on device", "b.json"), "No space left"),
        (ImportError("Install the extra: keras_distill[tfds]"), "keras_distill[tfds]"),
        (ValueError(), "ValueError"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_code_2(error, line, capsys):
    code, said = ending(failing(error), capsys)
    assert code == 2
    assert said.out == "" and said.err.count("\n") == 1
    assert said.err.startswith("error: ") and line in said.err


def test_ctrl_c_ends_with_130(capsys):
    code, said = ending(failing(KeyboardInterrupt()), capsys)
    assert code == 130 and "Interrupted" in said.err


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(KeyError, match="a bug"):
        command_line.run(failing(KeyError("a bug")))


def test_the_traceback_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("KERAS_DISTILL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="where from"):
        command_line.run(failing(ValueError("where from")))


def test_a_warning_is_one_line_without_the_place_in_the_code():
    program = (
        "import warnings\n"
        "from keras_distill import command_line\n"
        "command_line.run(lambda: warnings.warn('two classes\\n are small'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "warning: two classes are small\n"


@pytest.mark.parametrize("returned, code", [(None, None), (3, 3)])
def test_what_main_returns_is_the_exit_code(returned, code, capsys):
    assert ending(lambda: returned, capsys)[0] == code


def test_a_reader_that_leaves_early_is_no_error():
    program = (
        "from keras_distill import command_line\n"
        "command_line.run(lambda: print('line\\n' * 100_000))"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    writer.stdout.read(10)
    writer.stdout.close()
    complaint = writer.stderr.read()
    writer.stderr.close()
    writer.wait(timeout=60)
    assert complaint == b""


def test_a_mistaken_flag_prints_the_short_usage_and_what_was_wrong(capsys):
    parser = command_line.parser("train.x", "Trains.", "--data NAME", "python -m x")
    parser.add_argument("--data")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--dta", "glyphs"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "--dta" in said and said.count("\n") == 2
    assert "python -m x" in parser.format_help().splitlines()[-1]
