"""Compare ways to go on with a trained detector, under several seeds.

For each seed a student is trained from nothing; each method goes on with that student
for the same number of epochs, alone or with a teacher. `docs/results/NAME/` holds
`runs.json`, the figures of every run; `table.md`, means with intervals and paired
differences to the baseline; and `picture.png`. All are rewritten after each run, and
the same command goes on where it stopped.
"""

import contextlib
import functools
import shutil
import sys

from keras_distill import atomic, command_line
from train.comparison import program
from train.comparison.program import RESULTS, RUNS

EXAMPLE = """\
python -m train.compare_detectors \\
  train/recipes/detectors/bccd_retinanet.json --jobs 2"""


def main(argv=None):
    args = _parser().parse_args(argv)
    from train.comparison.record import Record, alone
    from train.detecting import recipe as recipes

    recipe = recipes.read(args.recipe)
    _check(args, recipe)
    out = args.out or RESULTS / recipe.name
    with alone(out):
        record = Record(out / "runs.json")
        if args.report:
            _report(recipe, record, out)
            broken = 0
        else:
            broken = _compare(args, recipe, record, out)
    print((out / "table.md").read_text(encoding="utf-8"))
    for path in sorted(out.iterdir()):
        print(f"  {path}")
    if broken:
        print(
            f"{broken} runs broke: the same command tries them again.", file=sys.stderr
        )
    return 1 if broken else 0


def _compare(args, recipe, record, out):
    """Runs what is missing; returns how many runs broke."""
    from train.comparison.record import alone

    data, folder = args.data or recipe.data, RUNS / recipe.name
    record.head["command"] = program.command(args, "train.compare_detectors")
    with alone(folder):
        grid = _Grid(args, recipe, record, out, data, folder)
        for method in args.again:
            print(f"{grid.forget(method)} runs of {method} are forgotten", flush=True)
        try:
            return grid.run()
        except KeyboardInterrupt:
            print(
                "\nInterrupted. What has ended is kept: the same command goes on.",
                file=sys.stderr,
            )
            raise SystemExit(130) from None


class _Grid:
    """The runs of a recipe: first what others begin with, then these."""

    def __init__(self, args, recipe, record, out, data, folder):
        from train.detecting import plan

        self.args, self.recipe, self.record, self.out = args, recipe, record, out
        seeds = recipe.seeds[: args.seeds]
        methods = args.only or [*recipe.methods]
        self.folders = functools.partial(plan.folders, recipe, folder)
        self.teacher = plan.teacher(recipe, data, folder)
        self.students = {s: plan.student(recipe, data, folder, s) for s in seeds}
        # Seed by seed: what is there at any time can be compared.
        self.jobs = [
            plan.method(recipe, data, folder, method, seed)
            for seed in seeds
            for method in methods
        ]

    def forget(self, label):
        """Drops the runs of a method, with their weights; returns how many."""
        for folder in self.folders(label):
            shutil.rmtree(folder, ignore_errors=True)
        return self.record.forget(label)

    def run(self):
        """Returns how many runs broke."""
        from train.detecting import runs

        for job in [self.teacher, *self.students.values(), *self.jobs]:
            self.record.adopt(job.label, job.settings)
        missing = [job for job in self.jobs if not self.record.has(job)]
        _report(self.recipe, self.record, self.out)
        print(f"{len(self.jobs) - len(missing)} of {len(self.jobs)} are there")
        first = [self.students[seed] for seed in dict.fromkeys(j.seed for j in missing)]
        if any(job.settings["method"] for job in missing):
            first.insert(0, self.teacher)
        needed = [
            job
            for job in first
            if not (self.record.has(job) and runs.is_finished(job.folder))
        ]
        broken = self._execute(needed)
        if broken:  # The others could not begin.
            return broken
        return self._execute(missing)

    def _execute(self, jobs):
        from train.comparison import workers
        from train.comparison.record import BROKEN
        from train.detecting import runs

        broken = 0
        outcomes = workers.execute(jobs, self.args.jobs, runs.run)
        with contextlib.closing(outcomes):
            for done, (job, outcome) in enumerate(outcomes, 1):
                self._check_same_beginning(job, outcome)
                self.record.add(job, outcome)
                _report(self.recipe, self.record, self.out)
                broken += outcome["status"] == BROKEN
                print(
                    f"{job.label}, seed {job.seed}: {_said(outcome)}; "
                    f"{len(jobs) - done} left",
                    flush=True,
                )
        return broken

    def _check_same_beginning(self, job, outcome):
        """Refuses to pair runs of other students, or of another teacher."""
        for run in self.record.runs:
            for what, who in (
                ("start", "student of this seed"),
                ("teacher", "teacher"),
            ):
                if what == "start" and run["seed"] != job.seed:
                    continue
                one, other = outcome.get(what), run.get(what)
                if None not in (one, other) and one != other:
                    raise ValueError(
                        f"The {who} was trained anew, and what other runs had of it is "
                        "gone: forget these runs (--again), or take another recipe. "
                        f"Received: {run['label']} and {job.label}, seed {job.seed}"
                    )


def _report(recipe, record, out):
    from train.detecting import table

    record.write()
    atomic.write_text(out / "table.md", table.table(recipe, record))
    drawn = table.picture(recipe, record)
    if drawn is not None:
        with atomic.file(out / "picture.png") as temporary:
            drawn.savefig(temporary, dpi=120)


def _said(outcome):
    from train.comparison.statistics import estimate
    from train.detecting.table import MEASURES

    if "figures" not in outcome:
        return f"{outcome['status']}, {outcome['reason']}"
    figures = [
        f"{measure.title} {measure.text(estimate([outcome['figures'][key]]))}"
        for key, measure in MEASURES.items()
    ]
    return f"{', '.join(figures)}, {outcome['seconds']:.0f} s"


def _check(args, recipe):
    from train.detecting.plan import STUDENT, TEACHER

    program.check(args, recipe.methods, [TEACHER, STUDENT])


def _parser():
    parser = command_line.parser(
        "train.compare_detectors",
        "Train a teacher, students and what each method makes of them; write means, "
        "intervals and paired differences. The same command goes on where it was "
        "stopped.",
        "RECIPE [options]",
        EXAMPLE,
    )
    program.add_arguments(parser, "forget the runs of these methods first")
    return parser


if __name__ == "__main__":
    command_line.run(main)
