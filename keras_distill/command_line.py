"""What every program does with a mistake: one readable line, and an exit code.

Only the standard library is imported here, so that a program which runs on the
device part alone can use it too.
"""

import argparse
import logging
import os
import signal
import sys
import textwrap
import warnings


def parser(module: str, summary: str, usage: str, example: str):
    """An `argparse.ArgumentParser` whose help fits a screen and ends in an example.

    Args:
        module: String, what follows `python -m`, such as `"train.embedder"`.
        summary: String, what the program does, in a sentence or two.
        usage: String, the arguments that matter, such as `"STUDENT --data NAME"`.
            It is all that a mistaken flag prints, besides what was wrong.
        example: String, one or more commands to copy, one a line.

    Returns:
        An `argparse.ArgumentParser`, to which the program adds its arguments.
    """
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        usage=f"python -m {module} {usage}",
        description=textwrap.fill(summary, 79),
        epilog="example:\n" + textwrap.indent(example, "  "),
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=27, width=80
        ),
        allow_abbrev=False,
    )


def run(main):
    """Calls `main()` and ends the process as a command should end.

    What the user can mend becomes one line on standard error and exit code 2:
    `ValueError`, `OSError` (a missing file, a full disk) and `ImportError` (an
    extra that is not installed). Ctrl-C ends with 130. Anything else is a fault
    of the program and keeps its traceback; `KERAS_DISTILL_TRACEBACK=1` in the
    environment keeps it for all.

    Warnings are one line each, without the place in the code. TensorFlow's
    notices are silenced (unless `TF_CPP_MIN_LOG_LEVEL` is set already): call `run`
    before TensorFlow is imported, and import it in `main`.

    Args:
        main: Function without arguments; what it returns is the exit code, with
            `None` for 0.

    Raises:
        SystemExit: Always.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.formatwarning = _one_line_warning
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; nothing is left to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + 13) from None  # SIGPIPE, which Windows lacks
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("KERAS_DISTILL_TRACEBACK"):
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(code)


def _one_line_warning(message, *_, **__):
    return f"warning: {_one_line(message)}\n"


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
