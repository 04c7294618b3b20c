"""Convert the student of a run in every mode, and set beside each other what they cost.

Each file is calibrated, verified and searched with as `export.bundle` does; nothing is
written. A file that fails a check is in the table with the name of the check. Size is
given deflated too, as application packages are.
"""

import json
import pathlib
import zlib

import keras_distill as kd
from export import finished_run, report
from keras_distill import command_line

CALIBRATION_IMAGES, EPOCHS = 500, 12
# Students of --compress, and what `keras_distill.tflite.compressed` is asked for.
COMPRESSED = (
    ("50 % pruned, int8", {"sparsity": 0.5}),
    ("70 % pruned, int8", {"sparsity": 0.7}),
    ("64 clusters, int8", {"clusters": 64}),
    ("16 clusters, int8", {"clusters": 16}),
)
FIGURES = ("recall_at_1", "map_at_r", "overlap_at_10", "cosine_mean", "cosine_min")

EXAMPLE = """\
python -m export.modes runs/glyphs
python -m export.modes runs/glyphs --modes int8 int8-qat --calibration 2000
python -m export.modes runs/glyphs --modes int8 --compress"""


def main(argv=None):
    args = _parser().parse_args(argv)
    for mode in args.modes or ():
        kd.tflite.check_mode(mode)
    if args.calibration < 1:
        raise ValueError(
            f"--calibration must be at least 1. Received: {args.calibration}"
        )
    if args.epochs < 1:
        raise ValueError(f"--epochs must be at least 1. Received: {args.epochs}")
    run = finished_run.read(args.run)
    height, width, channels = run.student.input_shape[1:]
    train, catalogue = kd.data.load(
        run.recipe["arguments"]["data"],
        image_size=(height, width),
        eval_classes=run.eval_classes,
        channels=channels,
    )
    rows = measured(
        run.student,
        _spread(train, args.calibration),
        _spread(catalogue, len(catalogue)),
        catalogue.labels,
        [mode for mode in args.modes or kd.tflite.MODES if mode != "float32"],
        args.epochs if args.compress else None,
    )
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        show(rows, f"{run.student.name}, {len(catalogue):,} images to find")


def measured(student, calibration, images, labels, modes, compress=None):
    """What each mode of a student costs in size, time and retrieval.

    Args:
        student: `keras.Model`.
        calibration: uint8 array of images that it was trained on.
        images: uint8 array `(N, height, width, channels)` of other images, which are
            searched among themselves.
        labels: int array `(N,)`.
        modes: Modes of `keras_distill.tflite.convert` beside float32.
        compress: How many epochs students are trained on `calibration` while they are
            pruned or clustered, see `keras_distill.tflite.compressed`, to be int8 files
            too; or `None` for no such students. Defaults to `None`.

    Returns:
        List of dictionaries: `mode`, `bytes`, `zip_bytes` (deflated), `failed` (the
        check that refuses the file, or `None`), `milliseconds` and the figures of a
        stage of `RetrievalBudget`; of `int8-qat` also `quantization_aware`, see
        `keras_distill.tflite.QuantizationAware`. Keras and float32 come first.
    """
    from keras_distill.device import Embedder
    from keras_distill.retrieval import RetrievalBudget
    from keras_distill.tflite.from_keras import keras_rows

    budget = RetrievalBudget(keras_rows(student, images), labels, max_drop=100)
    rows = [{"mode": "Keras", "failed": None, **budget.stages[0]}]
    reference = None
    for name, mode, network, others in _networks(student, calibration, modes, compress):
        model = kd.tflite.convert(network, mode, calibration)
        reference = reference or model
        failed = None
        try:
            kd.tflite.verify(model, student, images, mode, reference)
        except kd.tflite.VerificationError as error:
            failed = error.check
        embedder = Embedder(model)
        found = embedder.embed(images)
        milliseconds = embedder.milliseconds(images[0])
        stage = budget.add(name, budget.nearest(found), found, milliseconds)
        sizes = {"bytes": len(model), "zip_bytes": len(zlib.compress(model, 9))}
        rows.append({"mode": name, "failed": failed, **sizes, **stage, **others})
    return rows


def _networks(student, calibration, modes, compress):
    """`(name, mode, network, facts)` of what there is to convert, one after another."""
    for mode in ("float32", *modes):
        if mode == "int8-qat":
            taught = kd.tflite.quantization_aware(student, calibration)
            yield mode, "int8", taught.student, {"quantization_aware": taught.facts()}
        else:
            yield mode, mode, student, {}
    for name, how in COMPRESSED if compress else ():
        network = kd.tflite.compressed(student, calibration, **how, epochs=compress)
        yield name, "int8", network, {"epochs": compress, **how}


def show(rows, title):
    """Prints a table of what `measured` gives."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    names = ["mode", "kB", "kB zipped", "ms", *FIGURES, "refused by"]
    for name in names:
        table.add_column(name, justify="left" if name == "mode" else "right")
    for row in rows:
        sizes = [row.get(key) for key in ("bytes", "zip_bytes")]
        cells = ["" if size is None else f"{size / 1000:,.1f}" for size in sizes]
        time = row["milliseconds"]
        cells.append("" if time is None else f"{time:.3f}")
        for name in FIGURES:
            cells.append(_cell(name, row[name]))
        table.add_row(row["mode"], *cells, row["failed"] or "")
    console = Console()
    console.print(table)
    for row in rows:
        if "quantization_aware" in row:
            console.print(f"{row['mode']}: {report.trained(row['quantization_aware'])}")


def _cell(name, value):
    if value is None:
        return ""
    return f"{value:.5f}" if name.startswith("cosine") else f"{100 * value:.2f} %"


def _spread(images, count):
    """Pixels of at most `count` images, evenly spread."""
    import numpy as np

    rows = np.linspace(0, len(images) - 1, min(count, len(images)))
    return images.read(np.unique(rows.round().astype(int)))


def _parser():
    parser = command_line.parser(
        "export.modes",
        "Convert the student of a run in every mode, and print what each costs in "
        "size, time and retrieval.",
        "RUN [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("run", type=pathlib.Path, help="what train.embedder or train.groups filled")
    add("--modes", nargs="+", metavar="MODE", help="float16, dynamic, ... (all)")
    add(
        "--calibration",
        type=int,
        default=CALIBRATION_IMAGES,
        metavar="N",
        help="training images for the modes of int8 (%(default)s)",
    )
    add(
        "--compress",
        action="store_true",
        help="also int8 files of the student with pruned or clustered weights",
    )
    add(
        "--epochs",
        type=int,
        default=EPOCHS,
        help="of --compress, to train it meanwhile (%(default)s)",
    )
    add("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    command_line.run(main)
