"""Time what global knowledge costs: the choice of prototypes, and a training step."""

import statistics
import time

import keras_distill as kd
from keras_distill import command_line

EXAMPLE = """\
python -m train.knowledge_benchmark
python -m train.knowledge_benchmark --student-width 64 --batch 4"""

CLASSES = 3
SIDES = (24, 80)  # of boxes, pixels
NUMBERS = ("instances", "dim", "height", "width", "batch", "boxes", "steps", "rounds")


def main(argv=None):
    args = _parser().parse_args(argv)
    for name in (*NUMBERS, "student_width", "teacher_width"):
        if getattr(args, name) < 1:
            raise ValueError(
                f"--{name.replace('_', '-')} must be at least 1. "
                f"Received: {getattr(args, name)}"
            )
    print(
        f"Choosing 10 prototypes among {args.instances:,} instances of {args.dim} "
        f"numbers in both spaces: {_choosing(args):.2f} s\n\n"
        f"A step of {args.batch} images of {args.height} x {args.width} with "
        f"{args.boxes} boxes each; RetinaNet, pyramids {args.student_width} and "
        f"{args.teacher_width} wide,\nmedian of {args.rounds} x {args.steps} steps, in "
        f"turn\n\n{'':36}{'ms':>8}{'processor ms':>14}{'to asked':>10}"
    )
    took = _steps(args)
    _, asked = took["teacher asked"]
    for title, (wall, processor) in took.items():
        print(
            f"{title:36}{1000 * wall:>8.0f}{1000 * processor:>14.0f}"
            f"{processor / asked - 1:>+10.0%}"
        )


def _choosing(args):
    """Seconds of one choice, median."""
    import numpy as np

    from keras_distill.methods.prototypes import select_prototypes

    numbers = np.random.default_rng(0)
    shape = args.instances, args.dim
    # Rectified and shifted, as features are that all lie on one side.
    student, teacher = (np.maximum(numbers.normal(size=shape), 0) + 1 for _ in range(2))
    times = []
    for _ in range(args.rounds):
        began = time.perf_counter()
        select_prototypes(student.astype("f4"), teacher.astype("f4"))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _steps(args):
    """Seconds a step of each way to train, on the clock and of the processor.

    In turn: a slow minute slows them all. What else runs on a machine is no part of the
    processor's.
    """
    import keras

    ways = {
        "student alone": None,
        "teacher asked": _asked(),
        "and global loss": {"foreground_weight": 0, "background_weight": 0},
        "and local losses, 1x1 adapters": {"adapter_size": 1},
        "and local losses, 3x3 adapters": {"adapter_size": 3},
    }
    teacher = _detector(args, args.teacher_width, "teacher")
    data = _data(args)
    trained = {}
    for title, way in ways.items():
        student = _detector(args, args.student_width, "student")
        methods = []
        if isinstance(way, dict):
            pyramids = {"student_layer": "pyramid", "teacher_layer": "pyramid"}
            options = {"level_base": 20.0, **pyramids, **way}
            methods = [kd.GlobalKnowledge(CLASSES, "boxes", **options)]
        elif way is not None:
            methods = [way]
        distiller = kd.Distiller(student, methods, teacher if methods else None)
        distiller.compile(keras.optimizers.SGD(1e-4))
        # The choice of prototypes is no part of a step.
        refresh = [
            kd.callbacks.PrototypeRefresh(method, data.take(1))
            for method in methods
            if isinstance(method, kd.GlobalKnowledge)
        ]
        trained[title] = distiller, refresh
    took = {title: [] for title in ways}
    for turn in range(args.rounds + 1):
        for title, (distiller, refresh) in trained.items():
            one = _fit(distiller, data.take(args.steps + 1), refresh)
            if turn:  # The first round holds the tracing of the graph.
                took[title].append(one)
    return {
        title: [statistics.median(times) for times in zip(*both, strict=True)]
        for title, both in took.items()
    }


def _asked():
    """A method that asks the teacher and learns nothing."""
    from keras import ops

    from keras_distill.methods import Method, Term

    class Asked(Method):
        needs_teacher, needs_embedding = True, False
        term_names = ("level",)
        student_layers = teacher_layers = ("pyramid",)

        def rows(self, views):
            maps = views.teacher_layers["pyramid"].values()
            return {"level": sum(ops.mean(x, axis=(1, 2, 3)) for x in maps)}

        def terms(self, batch):
            return {"level": Term(batch.rows["level"], None)}

    return Asked(name="asked")


def _detector(args, width, name):
    pyramid = kd.models.pyramid((args.height, args.width, 3), width=width)
    return kd.models.RetinaNet(
        pyramid, CLASSES, head_width=width, head_convs=2, anchor_size=2.0, name=name
    )


def _data(args):
    """Noise with boxes, endless but for `take`."""
    import numpy as np
    import tensorflow as tf

    numbers = np.random.default_rng(0)
    shape = args.batch, args.boxes
    sides = numbers.uniform(*SIDES, (*shape, 2))
    room = np.maximum((args.width, args.height) - sides, 0)
    corners = numbers.uniform(0, 1, (*shape, 2)) * room
    targets = {
        "boxes": np.concatenate([corners, corners + sides], -1).astype("float32"),
        "labels": numbers.integers(0, CLASSES, shape).astype("int32"),
        "mask": np.ones(shape, bool),
    }
    images = numbers.uniform(0, 255, (args.batch, args.height, args.width, 3))
    images = images.astype("float32")
    return tf.data.Dataset.from_tensors((images, targets)).repeat(1000)


def _fit(distiller, batches, callbacks):
    """Both seconds a step of one `fit`, from the end of its first step on."""
    import keras

    ends = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(
            (time.perf_counter(), time.process_time())
        )
    )
    distiller.fit(batches, verbose=0, callbacks=[*callbacks, note])
    first, last = ends[0], ends[-1]
    return [(last[i] - first[i]) / (len(ends) - 1) for i in range(2)]


def _parser():
    parser = command_line.parser(
        "train.knowledge_benchmark",
        "Print how long prototypes are chosen, and what a training step of a detector "
        "costs alone, with a teacher that is asked, and with the terms of global "
        "knowledge.",
        "[options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--instances", type=int, default=2400, help="of the class (%(default)s)")
    add("--dim", type=int, default=256, help="numbers of each (%(default)s)")
    add("--student-width", type=int, default=32, help="channels (%(default)s)")
    add("--teacher-width", type=int, default=128, help="channels (%(default)s)")
    add("--height", type=int, default=256, help="of images (%(default)s)")
    add("--width", type=int, default=320, help="of images (%(default)s)")
    add("--batch", type=int, default=8, help="images (%(default)s)")
    add("--boxes", type=int, default=24, help="of an image (%(default)s)")
    add("--steps", type=int, default=5, help="in a round (%(default)s)")
    add("--rounds", type=int, default=3, help="of each, in turn (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
