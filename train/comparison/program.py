"""What the programs that compare have in common: flags, and the command to print."""

import pathlib
import shlex

RESULTS = pathlib.Path("docs/results")
RUNS = pathlib.Path("runs/compare")  # weights: the files that are not kept
PROJECT = pathlib.Path(__file__).resolve().parents[2]


def add_arguments(parser, forgotten):
    """Gives a parser the arguments of both programs.

    Args:
        parser: `argparse.ArgumentParser`.
        forgotten: String, what `--again` forgets.
    """
    add = parser.add_argument
    add("recipe", type=pathlib.Path, help="JSON file, see train/recipes")
    add("--data", help="where the data of the recipe lie on this machine")
    add("--out", type=pathlib.Path, help=f"folder of results ({RESULTS}/NAME)")
    add("--jobs", type=int, default=1, help="runs at once, a thread each (%(default)s)")
    add("--only", nargs="+", default=[], metavar="METHOD", help="run these methods")
    add("--seeds", type=int, metavar="N", help="run the first N seeds of the recipe")
    add("--again", nargs="+", default=[], metavar="METHOD", help=forgotten)
    add("--report", action="store_true", help="only rewrite the table and the picture")


def check(args, methods, more):
    """Refuses numbers below 1, and methods that are not there.

    Args:
        args: What the parser found.
        methods: Names that `--only` takes.
        more: Names that `--again` takes besides.

    Raises:
        ValueError: The known names are listed.
    """
    for flag in ("jobs", "seeds"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise ValueError(
                f"--{flag} must be at least 1. Received: {getattr(args, flag)}"
            )
    for flag, others in (("only", []), ("again", more)):
        known = dict.fromkeys([*methods, *others])
        unknown = [name for name in getattr(args, flag) if name not in known]
        if unknown:
            raise ValueError(
                f"--{flag} takes one or more of: {'; '.join(known)}. "
                f"Received: {'; '.join(unknown)}"
            )


def command(args, module):
    """The command that makes all of it, on any machine, whatever flags were used."""
    path = args.recipe.resolve()
    inside = path.is_relative_to(PROJECT)
    named = path.relative_to(PROJECT).as_posix() if inside else path.name
    return shlex.join(["python", "-m", module, named])
