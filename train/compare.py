"""Compare methods: each trained under several seeds with one budget, and measured.

`docs/results/NAME/` holds `runs.json`, the figures of every run; `table.md`, the means
with their intervals and the paired differences to the baseline; and `picture.png`. All
three are rewritten after each run, and the same command goes on where it stopped.
"""

import contextlib
import pathlib
import shlex
import sys
import time

from keras_distill import atomic, command_line

RESULTS = pathlib.Path("docs/results")

EXAMPLE = """\
python -m train.compare train/recipes/omniglot_self_8.json --jobs 2
python -m train.compare train/recipes/omniglot_self_8.json --only none DSD --seeds 2"""


def main(argv=None):
    args = _parser().parse_args(argv)
    from train.comparison import recipe as recipes
    from train.comparison.record import Record, alone

    recipe = recipes.read(args.recipe)
    _check(args, recipe)
    out = args.out or RESULTS / recipe.name
    if args.report:
        report(recipe, Record(out / "runs.json"), out)
        return 0
    with alone(out):
        return compare(args, recipe, Record(out / "runs.json"), out)


def compare(args, recipe, record, out):
    """Runs what is missing; returns the exit code."""
    from train.comparison import plan, training

    data = {
        "path": args.data or recipe.data,
        "image_size": recipe.image_size,
        "eval_classes": recipe.eval_classes,
        "validation_classes": None,
    }
    print(f"Reading {data['path']}", flush=True)
    images = training.describe(data, recipe.batch)
    for method in args.again:
        print(f"{record.forget(method)} runs of {method} are forgotten", flush=True)
    settings = {name: plan.settings(recipe, name, images) for name in recipe.methods}
    for name, own in settings.items():
        record.adopt(name, own)
        training.build(own, images["image_shape"], images["training"]["classes"], 0)
    record.head = {
        "name": recipe.name,
        "command": _command(args),
        "data": {
            part: images[part] for part in ("name", "image_shape", *images["parts"])
        },
    }
    chosen = [name for name in recipe.methods if name in (args.only or recipe.methods)]
    seeds = recipe.seeds[: args.seeds]
    jobs = plan.grid({name: settings[name] for name in chosen}, seeds, data)
    missing = [job for job in jobs if not record.has(job)]
    print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there", flush=True)
    try:
        return _run(args, recipe, record, out, missing)
    except KeyboardInterrupt:
        print(
            "\nInterrupted. What has ended is kept: the same command goes on.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _run(args, recipe, record, out, jobs):
    from train.comparison import training, workers
    from train.comparison.record import BROKEN

    began, broken = time.perf_counter(), 0
    outcomes = workers.execute(jobs, args.jobs, training.run)
    with contextlib.closing(outcomes):
        for done, (job, outcome) in enumerate(outcomes, 1):
            record.add(job, outcome)
            report(recipe, record, out, say=False)
            broken += outcome["status"] == BROKEN
            left = len(jobs) - done
            minutes = (time.perf_counter() - began) / done * left / 60
            print(
                f"{job.label}, seed {job.seed}: {_said(outcome)}; "
                f"{left} left, about {minutes:.0f} min",
                flush=True,
            )
    report(recipe, record, out)
    if broken:
        print(
            f"{broken} runs broke: the same command tries them again.", file=sys.stderr
        )
    return 1 if broken else 0


def report(recipe, record, out, say=True):
    """Writes table and picture of what there is."""
    from train.comparison.picture import picture
    from train.comparison.table import table

    record.write()
    text = table(recipe, record)
    atomic.write_text(out / "table.md", text)
    drawn = picture(recipe, record)
    if drawn is not None:
        with atomic.file(out / "picture.png") as temporary:
            drawn.savefig(temporary, dpi=120)
    if say:
        print(text)
        for path in sorted(out.iterdir()):
            print(f"  {path}")


def _said(outcome):
    if "figures" not in outcome:
        return f"{outcome['status']}, {outcome['reason']}"
    figures = outcome["figures"]
    return (
        f"Recall@1 {100 * figures['recall_at_1']:.2f}, "
        f"MAP@R {100 * figures['map_at_r']:.2f}, {outcome['seconds']:.0f} s"
    )


def _command(args):
    """The command that makes all of it, however it was made bit by bit."""
    words = ["python", "-m", "train.compare", str(args.recipe)]
    for flag in ("data", "out"):
        if getattr(args, flag) is not None:
            words += [f"--{flag}", str(getattr(args, flag))]
    return shlex.join(words)


def _check(args, recipe):
    for flag in ("jobs", "seeds"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise ValueError(
                f"--{flag} must be at least 1. Received: {getattr(args, flag)}"
            )
    for flag in ("only", "again"):
        unknown = [name for name in getattr(args, flag) if name not in recipe.methods]
        if unknown:
            raise ValueError(
                f"--{flag} takes methods of the recipe: {', '.join(recipe.methods)}. "
                f"Received: {', '.join(unknown)}"
            )


def _parser():
    parser = command_line.parser(
        "train.compare",
        "Train methods x seeds with one budget; write means, intervals and paired "
        "differences. The same command goes on where it was stopped.",
        "RECIPE [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("recipe", type=pathlib.Path, help="JSON file, see train/recipes")
    add("--data", help="where the data of the recipe lie on this machine")
    add("--out", type=pathlib.Path, help=f"folder of results ({RESULTS}/NAME)")
    add("--jobs", type=int, default=1, help="runs at once, a thread each (%(default)s)")
    add("--only", nargs="+", default=[], metavar="METHOD", help="run these methods")
    add("--seeds", type=int, metavar="N", help="run the first N seeds of the recipe")
    add(
        "--again",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="forget the runs of these methods first",
    )
    add("--report", action="store_true", help="only rewrite the table and the picture")
    return parser


if __name__ == "__main__":
    command_line.run(main)
