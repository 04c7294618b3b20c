"""Compare methods: each trained under several seeds with one budget, and measured.

`docs/results/NAME/` holds `runs.json`, the figures of every run; `table.md`, the means
with their intervals and the paired differences to the baseline; and `picture.png`. All
three are rewritten after each run, and the same command goes on where it stopped.
"""

import contextlib
import dataclasses
import os
import sys
import time

from keras_distill import atomic, command_line
from train.comparison import program
from train.comparison.program import RESULTS, RUNS

EXAMPLE = """\
python -m train.compare train/recipes/omniglot_self_8.json --jobs 2
python -m train.compare train/recipes/omniglot_self_8.json --only none DSD"""


def main(argv=None):
    args = _parser().parse_args(argv)
    from train.comparison import recipe as recipes
    from train.comparison.record import alone

    recipe = recipes.read(args.recipe)
    out = args.out or RESULTS / recipe.name
    _check(args, recipe, _records(out))
    # TensorFlow reads it when it starts: the runs of --jobs need the GPU as well.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with alone(out):
        try:
            broken = (rewrite if args.report else compare)(args, recipe, out)
        except KeyboardInterrupt:
            print(
                "\nInterrupted. What has ended is kept: the same command goes on.",
                file=sys.stderr,
            )
            raise SystemExit(130) from None
    _show(out)
    if broken:
        print(
            f"{broken} runs broke: the same command tries them again.", file=sys.stderr
        )
    return 1 if broken else 0


def compare(args, recipe, out):
    """Runs what is missing; returns how many runs broke."""
    from train.comparison import plan, teacher, tuning

    records = record, trials = _records(out)
    for method in args.again:
        count = sum(some.forget(method) for some in records)
        print(f"{count} runs of {method} are forgotten", flush=True)
    if plan.TEACHER in args.again:
        for some in records:
            teacher.refuse_orphans(some)

    def report():
        _report(recipe, record, trials, out)

    broken, overrides = 0, dict.fromkeys(recipe.methods)
    if recipe.tuning is not None:
        data = plan.data(recipe, args.data, tuning=True)
        stage = _Stage(args, recipe, data, trials, report)
        broken = stage.run(tuning.settings(recipe, stage.images), stage.tuning_seeds)
        overrides = {
            method: recipe.methods[method]["trials"][number]
            for method, number in tuning.chosen(recipe, trials).items()
        }
        for method in tuning.lost(recipe, trials):
            print(f"{method} is left out: {tuning.LOST}", flush=True)
    stage = _Stage(args, recipe, plan.data(recipe, args.data), record, report)
    settings = {
        method: (method, plan.settings(recipe, method, stage.images, trial))
        for method, trial in overrides.items()
    }
    return broken + stage.run(settings, recipe.seeds[: args.seeds])


def rewrite(args, recipe, out):
    """Rewrites what is made of the runs that are there; returns 0, no run broke."""
    records = _records(out)
    for record in records:
        if record.runs:
            data = {**record.head["data"], "name": recipe.data}
            record.head |= {
                "command": program.command(args, "train.compare"),
                "data": data,
            }
            record.write()
    _report(recipe, *records, out)
    return 0


class _Stage:
    """Trials on a part of the training, or the grid on what was put aside."""

    def __init__(self, args, recipe, data, record, report):
        from train.comparison import plan, training

        print(f"Reading {data['path']}", flush=True)
        self.args, self.recipe, self.data = args, recipe, data
        self.record, self.report = record, report
        self.images = images = training.describe(recipe.task, data, recipe.batch)
        if recipe.trunk is not None:
            other = plan.trunk_data(recipe)
            print(f"Reading {other['path']}", flush=True)
            said = training.describe(recipe.task, other, recipe.batch)
            self.images = {**images, plan.TRUNK: said}
        self.tuning_seeds = recipe.tuning and recipe.tuning["seeds"]
        record.head = {
            "name": recipe.name,
            "command": program.command(args, "train.compare"),
            # Not where they lie on this machine.
            "data": {
                "name": recipe.data,
                **{part: images[part] for part in ("image_shape", *images["parts"])},
            },
            **{key: record.head[key] for key in [plan.TRUNK] if key in record.head},
        }

    def run(self, settings, seeds):
        """Runs what is missing of labels x seeds; returns how many runs broke."""
        from train.comparison import plan, training
        from train.comparison.record import DONE, alone

        shape, classes = self.images["image_shape"], self.images["training"]["classes"]
        for label, (_, own) in settings.items():
            self.record.adopt(label, own)
            if not self.record.ended(label, DONE):  # Mistakes come before any run.
                training.build(own, shape, classes, 0)
        only = self.args.only or self.recipe.methods
        chosen = {label: pair for label, pair in settings.items() if pair[0] in only}
        jobs = plan.grid(chosen, seeds, self.data)
        missing = [job for job in jobs if not self.record.has(job)]
        taught = any(plan.TEACHER in job.settings for job in missing)
        lesson = self._lesson() if taught else None
        for job in [*missing, *([lesson] if taught else [])]:
            self._trunk(job)
        self.record.write()  # Nothing is, of what was forgotten, before all is checked.
        self.report()
        print(f"{len(jobs) - len(missing)} of {len(jobs)} runs are there", flush=True)
        if not taught and self.recipe.trunk is None:
            return self._execute(missing, self.args.jobs)
        with alone(RUNS / self.recipe.name):  # Students read there while they train.
            missing = self._begun(missing)
            if taught:
                missing = self._taught(*self._begun([lesson]), missing)
            return self._execute(missing, self.args.jobs)

    def _trunk(self, job):
        """The job that trains the trunk which another begins with, checked; or None."""
        from train.comparison import plan, trunk

        settings = job.settings.get(plan.TRUNK)
        if settings is None:
            return None
        data, folder = plan.trunk_data(self.recipe), RUNS / self.recipe.name
        begin = trunk.job(settings, data, folder)
        trunk.check(begin, settings, self.record)
        return begin

    def _begun(self, jobs):
        """The jobs with the trunks they begin with, trained if they have to be."""
        from train.comparison import plan, training, trunk, workers

        found = []
        for job in jobs:
            begin = self._trunk(job)
            if begin is not None:
                outcome = trunk.outcome(begin)
                if outcome is None:
                    ((_, outcome),) = workers.execute([begin], 1, training.run)
                    trunk.keep(begin, outcome)
                    print(f"trunk: {_said(self.recipe, outcome)}", flush=True)
                who = plan.TEACHER if job.label == plan.TEACHER else "student"
                kept = {key: outcome[key] for key in ("figures", "seconds", "weights")}
                self.record.head.setdefault(plan.TRUNK, {})[who] = kept
                begins = {"path": begin.keep, "weights": outcome["weights"]}
                job = dataclasses.replace(job, trunk=begins)
            found.append(job)
        return found

    def _lesson(self):
        """The job that trains the teacher."""
        from train.comparison import teacher

        folder = RUNS / self.recipe.name
        lesson = teacher.job(self.recipe, self.images, self.data, folder)
        teacher.check(lesson, self.record)
        self.record.adopt(lesson.label, lesson.settings)
        return lesson

    def _taught(self, lesson, jobs):
        """The jobs with what the teacher says, which is trained if it has to be."""
        from train.comparison import specification, teacher

        if not teacher.is_there(lesson, self.record):
            teacher.forget_lessons(lesson)
            self._execute([lesson], 1)
        views, known, found = jobs[0].settings["views"], {}, []
        for job in jobs:
            # At most one, and none of what learns from no teacher.
            for layer in specification.teacher_layers(job.settings["methods"]):
                if layer not in known:
                    said = teacher.lessons(lesson, self.record, views, layer)
                    known[layer] = said
                job = dataclasses.replace(job, lessons=known[layer])
            found.append(job)
        return found

    def _execute(self, jobs, count):
        from train.comparison import training, workers
        from train.comparison.record import BROKEN

        began, broken = time.perf_counter(), 0
        outcomes = workers.execute(jobs, count, training.run)
        with contextlib.closing(outcomes):
            for done, (job, outcome) in enumerate(outcomes, 1):
                self.record.add(job, outcome)
                self.report()
                broken += outcome["status"] == BROKEN
                left = len(jobs) - done
                minutes = (time.perf_counter() - began) / done * left / 60
                print(
                    f"{job.label}, seed {job.seed}: {_said(self.recipe, outcome)}; "
                    f"{left} left, about {minutes:.0f} min",
                    flush=True,
                )
        return broken


def _records(out):
    """What is known of the grid, and of the trials."""
    from train.comparison.record import Record

    return Record(out / "runs.json"), Record(out / "tuning.json")


def _report(recipe, record, trials, out):
    """Writes tables and picture of what there is."""
    from train.comparison import tuning
    from train.comparison.picture import picture
    from train.comparison.table import table

    lost = {}
    if recipe.tuning is not None:
        lost = dict.fromkeys(tuning.lost(recipe, trials), tuning.LOST)
        atomic.write_text(out / "tuning.md", tuning.table(recipe, trials))
    atomic.write_text(out / "table.md", table(recipe, record, lost))
    drawn = picture(recipe, record)
    if drawn is not None:
        with atomic.file(out / "picture.png") as temporary:
            drawn.savefig(temporary, dpi=120)


def _show(out):
    for path in sorted(out.glob("*.md")):
        print(path.read_text(encoding="utf-8"))
    for path in sorted(out.iterdir()):
        print(f"  {path}")


def _said(recipe, outcome):
    from train.comparison.statistics import estimate
    from train.comparison.tasks import TASKS

    if "figures" not in outcome:
        return f"{outcome['status']}, {outcome['reason']}"
    figures = [
        f"{measure.title} {measure.text(estimate([outcome['figures'][key]]))}"
        for key, measure in TASKS[recipe.task].measures.items()
    ]
    return f"{', '.join(figures)}, {outcome['seconds']:.0f} s"


def _check(args, recipe, records):
    from train.comparison import plan, tuning

    trials = [
        tuning.label(method, number)
        for method, entry in recipe.methods.items()
        for number in range(len(entry.get("trials", ())))
    ]
    retired = [run["method"] for record in records for run in record.runs]
    program.check(args, recipe.methods, [plan.TEACHER, *trials, *retired])


def _parser():
    parser = command_line.parser(
        "train.compare",
        "Train methods x seeds with one budget; write means, intervals and paired "
        "differences. The same command goes on where it was stopped.",
        "RECIPE [options]",
        EXAMPLE,
    )
    program.add_arguments(parser, "forget the runs of these methods, or trials, first")
    return parser


if __name__ == "__main__":
    command_line.run(main)
