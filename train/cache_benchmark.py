"""Time training with a teacher that is asked in each step, and with its cache."""

import pathlib
import statistics
import tempfile
import time

import keras_distill as kd
from keras_distill import command_line

EXAMPLE = """\
python -m train.cache_benchmark
python -m train.cache_benchmark --teacher MobileNetV2 --image-size 96"""


def main(argv=None):
    args = _parser().parse_args(argv)
    for name in ("image_size", "images", "views", "steps", "rounds"):
        if getattr(args, name) < 1:
            raise ValueError(
                f"--{name.replace('_', '-')} must be at least 1. "
                f"Received: {getattr(args, name)}"
            )
    train, _ = kd.data.load("glyphs", args.image_size)
    images = train.subset(range(min(args.images, len(train))))
    views = kd.data.FixedViews(kd.layers.RandomAffine(), count=args.views)
    teacher = kd.models.embedder(args.teacher, images.image_shape, args.dim, name="t")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder, "cache")
        began = time.perf_counter()
        cache = kd.data.cache_embeddings(teacher, images, folder, views)
        making = time.perf_counter() - began
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        seconds = _seconds(args, images, views, teacher, cache)
        del cache  # Windows removes no folder that is mapped into memory.
    embeddings = sizes.pop("embeddings.npy")
    saved = seconds["teacher asked in each step"] - seconds["teacher from the cache"]
    batch = args.classes * args.per_class
    epoch = max(1, len(images) // batch)
    pays = f"after {making / (saved * epoch):.1f} epochs" if saved > 0 else "never"
    print(
        f"{args.student} of 32 dimensions learning from {args.teacher} of {args.dim}, "
        f"{args.image_size} x {args.image_size} pixels,\n{len(images):,} images in "
        f"{args.views} views, batches of {args.classes} classes x {args.per_class} "
        f"images, median of {args.rounds} x {args.steps} steps"
        f"\n\n{'':32}{'steps/s':>10}"
    )
    for title, one in seconds.items():
        print(f"{title:32}{1 / one:>10.2f}")
    print(
        f"\nMaking the cache took {making:.1f} s, "
        f"{1000 * making / (len(images) * args.views):.2f} ms for each view of an "
        f"image, and pays {pays} of {epoch} steps.\n"
        f"On disk it has {embeddings / 1e6:.1f} MB of embeddings, and "
        f"{sum(sizes.values()) / 1e6:.2f} MB to know teacher and images again."
    )


def _seconds(args, images, views, teacher, cache):
    """Seconds a step of each way to train, in turn: a slow minute slows them all."""
    method = kd.methods.RelationalKL
    ways = {
        "student alone": (None, None, None),
        "teacher asked in each step": (method(), teacher, None),
        "teacher from the cache": (method(), None, cache),
    }
    trained = {}
    for title, (term, asked, known) in ways.items():
        student = kd.models.embedder(args.student, images.image_shape, dim=32)
        terms = [] if term is None else [term]
        distiller = kd.Distiller(student, terms, teacher=asked)
        distiller.compile("adamw", kd.losses.MultiSimilarity())
        shape = args.classes, args.per_class
        batches = kd.data.class_balanced(images, *shape, views, teacher=known)
        trained[title] = distiller, batches.repeat()
    took = {title: [] for title in ways}
    for turn in range(args.rounds + 1):
        for title, (distiller, batches) in trained.items():
            one = _fit(distiller, batches.take(args.steps + 1))
            if turn:  # The first round holds the tracing of the graph.
                took[title].append(one)
    return {title: statistics.median(times) for title, times in took.items()}


def _fit(distiller, batches):
    """Seconds a step of one `fit`, from the end of its first step on."""
    import keras

    ends = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    distiller.fit(batches, verbose=0, callbacks=[note])
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def _parser():
    parser = command_line.parser(
        "train.cache_benchmark",
        "Print steps a second of a student alone, with a larger teacher that is asked "
        "in each step, and with the same teacher's cached embeddings of the same "
        "views; how long the cache takes to make, when it pays, and its size.",
        "[options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--student", default="conv4", help="backbone (%(default)s)")
    add("--teacher", default="ResNet50", help="backbone (%(default)s)")
    add("--dim", type=int, default=512, help="of the teacher (%(default)s)")
    add("--image-size", type=int, default=32, help="pixels (%(default)s)")
    add("--images", type=int, default=1500, help="of the glyphs (%(default)s)")
    add("--views", type=int, default=2, help="of each image (%(default)s)")
    add("--classes", type=int, default=28, help="in a batch (%(default)s)")
    add("--per-class", type=int, default=4, help="images of each (%(default)s)")
    add("--steps", type=int, default=5, help="in a round (%(default)s)")
    add("--rounds", type=int, default=3, help="of each, in turn (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
