"""Time the input pipeline alone, and what a training step takes of it."""

import contextlib
import pathlib
import tempfile
import time

import keras_distill as kd
from keras_distill import command_line

EXAMPLE = """\
python -m train.pipeline_benchmark
python -m train.pipeline_benchmark --folder images --image-size 128"""


def main(argv=None):
    args = _parser().parse_args(argv)
    if not args.seconds > 0:
        raise ValueError(f"--seconds must be positive. Received: {args.seconds}")
    train, _ = kd.data.load("glyphs", args.image_size)
    with _folder(args, train) as folder:
        held = {"glyphs, in memory": train}
        # No memory for decoded images: every batch is read from its files.
        files = kd.data.image_folder(folder, args.image_size, memory_limit=0)
        held["files, decoded in each epoch"] = files
        print(
            f"{args.image_size} x {args.image_size} pixels, batches of {args.classes} "
            f"classes x {args.per_class} images, {args.seconds:g} s each\n\n"
            f"{'images/s':38}{'plain':>12}{'augmented':>12}"
        )
        for title, images in held.items():
            rates = [_rate(args, images, augment) for augment in (False, True)]
            print(f"{title:38}" + "".join(f"{rate:>12,.0f}" for rate in rates))
    print(f"{'training a conv4 takes':38}{_training_rate(args, train):>12,.0f}")


@contextlib.contextmanager
def _folder(args, glyphs):
    """The folder of the user, or one of glyphs as PNG files."""
    if args.folder is not None:
        yield args.folder
        return
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        images, labels = glyphs.arrays()
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            if label == 300:
                break
            path = pathlib.Path(folder, str(label), f"{row}.png")
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image[..., 0]).save(path)
        yield folder


def _batches(args, images, augment):
    layer = kd.layers.RandomAffine() if augment else None
    return kd.data.class_balanced(images, args.classes, args.per_class, augment=layer)


def _rate(args, images, augment):
    """Images a second, over whole epochs; the first batch is not counted."""
    batches = _batches(args, images, augment)
    for _ in batches.take(1):
        pass
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < args.seconds:
        for pixels, _ in batches:
            count += pixels.shape[0]
            if time.perf_counter() - start > args.seconds:
                break
    return count / (time.perf_counter() - start)


def _training_rate(args, images):
    """Images a second of training steps that wait for no input."""
    import keras

    student = kd.models.embedder("conv4", images.image_shape, dim=32)
    student.compile(keras.optimizers.AdamW(1e-3), kd.losses.MultiSimilarity())
    pixels, labels = next(iter(_batches(args, images, augment=True)))
    student.train_on_batch(pixels, labels)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < args.seconds:
        student.train_on_batch(pixels, labels)
        steps += 1
    return steps * len(labels) / (time.perf_counter() - start)


def _parser():
    parser = command_line.parser(
        "train.pipeline_benchmark",
        "Print images a second of class-balanced batches, with nothing that trains: "
        "from memory and from files, with and without augmentation; then the images "
        "a second that training steps of a conv4 take.",
        "[options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add(
        "--folder",
        type=pathlib.Path,
        help="images in a folder for each class (300 classes of glyphs as PNG)",
    )
    add("--image-size", type=int, default=32, help="pixels (%(default)s)")
    add("--classes", type=int, default=28, help="in a batch (%(default)s)")
    add("--per-class", type=int, default=4, help="images of each (%(default)s)")
    add("--seconds", type=float, default=5.0, help="of each figure (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
