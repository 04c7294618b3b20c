"""Time a training step with each method against plain training, and its memory."""

import contextlib
import multiprocessing
import statistics

import rich.console
import rich.progress
import rich.table

from keras_distill import command_line

EXAMPLE = """\
python -m train.benchmark
python -m train.benchmark --backbone conv4 --image-size 32 --steps 20"""

# What each is compared with, and the most that its ratio of times should be.
AGAINST = {
    "plain": None,
    "S2SD": ("plain", 1.15),
    "PAD of L2, cached teacher": ("plain", 1.10),
    "OBD-SD": ("plain", 1.40),
    "features, keras.distillation": None,
    "features, keras_distill": ("features, keras.distillation", 1 / 1.3),
}
CRITERION_CALLS = 20


def main(argv=None):
    args = _parser().parse_args(argv)
    for name in ("image_size", "dim", "steps", "rounds", "classes", "per_class"):
        if getattr(args, name) < 1:
            raise ValueError(
                f"--{name.replace('_', '-')} must be at least 1. "
                f"Received: {getattr(args, name)}"
            )
    if args.classes < 2 or args.per_class < 2:
        raise ValueError(
            "--classes and --per-class must be at least 2: a batch needs pairs. "
            f"Received: {args.classes} and {args.per_class}"
        )
    settings = vars(args)
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(_worker(name, settings)) for name in AGAINST
        }
        rounds = _rounds(workers, args)
        peaks = {name: _ask(worker, "peak") for name, worker in workers.items()}
    milliseconds = _criterion(settings)
    print(
        f"{args.backbone}, {args.image_size} x {args.image_size} pixels, {args.dim} "
        f"numbers, batches of {args.classes * args.per_class}, {args.steps} steps in "
        f"each of {args.rounds} rounds"
    )
    rich.console.Console(highlight=False).print(table(rounds, peaks))
    print("The ratio is to plain training; in the last line, to the line above it.")
    print(
        "S2SD's criterion alone, value and gradient, four branches of 512 to 2048: "
        f"{milliseconds:.1f} ms"
    )


def _rounds(workers, args):
    """Seconds a step, one list a contender. In turn: a slow minute slows them all."""
    seconds = {name: [] for name in workers}
    with rich.progress.Progress(transient=True) as progress:
        total = (args.rounds + 1) * len(workers)
        task = progress.add_task("Steps of each in turn", total=total)
        for turn in range(args.rounds + 1):
            for name, worker in workers.items():
                took = _ask(worker, "steps")
                if turn:  # The first round holds the tracing of the graph.
                    seconds[name].append(took)
                progress.advance(task)
    return seconds


def table(rounds, peaks):
    """What was measured, each beside what it is compared with.

    Args:
        rounds: From a name in `AGAINST` to its list of seconds a step, one a round.
        peaks: From a name to bytes, or `None`.
    """
    printed = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    printed.add_column("training with")
    for heading in ("s a step", "ratio", "aim", "peak MB"):
        printed.add_column(heading, justify="right")
    for name, seconds in rounds.items():
        cells = [f"{statistics.median(seconds):.3f}", "", ""]
        if AGAINST[name] is not None:
            other, most = AGAINST[name]
            # Round by round: both were measured within the same minute.
            pairs = zip(seconds, rounds[other], strict=True)
            ratio = statistics.median(ours / theirs for ours, theirs in pairs)
            cells[1:] = [f"{ratio:.2f}", f"<= {most:.2f}"]
        peak = peaks[name]
        printed.add_row(name, *cells, "-" if peak is None else f"{peak / 1e6:,.0f}")
    return printed


@contextlib.contextmanager
def _worker(name, settings):
    """A process that trains one contender when asked: memory of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(name, settings, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def _ask(worker, question):
    worker.send(question)
    answer = worker.recv()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _serve(name, settings, pipe):
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent ends us.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from train import memory
    from train.contenders import Contender

    contender = None
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            question = pipe.recv()
            try:
                contender = contender or Contender(name, settings)
                answer = contender.steps() if question == "steps" else memory.peak()
            except Exception as error:
                answer = error
            pipe.send(answer)


def _criterion(settings):
    """Milliseconds of S2SD's criterion, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_time_criterion, (settings,))


def _time_criterion(settings):
    from train.contenders import time_criterion

    return time_criterion(settings, CRITERION_CALLS)


def _parser():
    parser = command_line.parser(
        "train.benchmark",
        "Print the seconds of a training step with each method, their ratio to plain "
        "training of the same student, and the memory; then the same for a feature "
        "term and keras.distillation's. Each in a process of its own, in turn.",
        "[options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--backbone", default="MobileNetV2", help="of the student (%(default)s)")
    add("--image-size", type=int, default=96, metavar="PIXELS", help="(%(default)s)")
    add("--dim", type=int, default=128, help="width of the embedding (%(default)s)")
    add("--classes", type=int, default=28, help="in a batch (%(default)s)")
    add("--per-class", type=int, default=4, help="images of each (%(default)s)")
    add("--steps", type=int, default=3, help="of each in a round (%(default)s)")
    add("--rounds", type=int, default=5, help="that count (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
