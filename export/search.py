"""Search a bundle with images: what a device does, without TensorFlow or Keras.

Needs numpy, Pillow and one interpreter, ai-edge-litert or tflite-runtime; draws its
table with rich where that is installed.
"""

import json
import pathlib
import sys

from keras_distill import command_line, device

DEFAULT_K = 5

EXAMPLE = """\
python -m export.search bundles/glyphs letter.png
python -m export.search bundles/glyphs photos/*.jpg --k 10 --json"""


def main(argv=None):
    args = _parser().parse_args(argv)
    bundle = device.open_bundle(args.bundle, args.runtime, args.model, args.threads)
    k = min(DEFAULT_K, len(bundle)) if args.k is None else args.k
    results, unread = [], 0
    for file in args.images:
        try:
            image = device.read_image(file, bundle.image_shape)
        except (ValueError, OSError) as error:
            # The other images are answered all the same.
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            unread += 1
            continue
        scores, rows = bundle.nearest(image[None], k, args.searcher)
        results.append(
            {
                "image": str(file),
                "neighbours": [
                    {
                        "id": bundle.ids[row],
                        "class": bundle.classes[row],
                        "score": float(score),
                    }
                    for row, score in zip(rows[0], scores[0], strict=True)
                ],
            }
        )
    if args.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        _print_tables(results)
    return 1 if unread else 0


def _print_tables(results):
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        for result in results:
            print(result["image"])
            for rank, found in enumerate(result["neighbours"], 1):
                print(f"  {rank:>3}  {found['score']:.4f}  {found['id']}")
        return
    console = Console()
    for result in results:
        print(result["image"])
        table = Table()
        for name, justify in (("", "right"), ("score", "right"), ("id", "left")):
            table.add_column(name, justify=justify)
        for rank, found in enumerate(result["neighbours"], 1):
            # As `Text`, so that brackets in a name are not read as a style.
            name = Text(found["id"], overflow="fold")
            table.add_row(str(rank), f"{found['score']:.4f}", name)
        console.print(table)


def _parser():
    parser = command_line.parser(
        "export.search",
        "Find the images of a bundle's catalogue that are nearest to yours. Runs "
        "without TensorFlow: numpy, Pillow and a TFLite interpreter are enough.",
        "BUNDLE IMAGE... [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("bundle", type=pathlib.Path, help="folder that export.bundle wrote")
    add("images", nargs="+", type=pathlib.Path, metavar="IMAGE", help="of any size")
    add("--k", type=int, help=f"how many neighbours ({DEFAULT_K})")
    add("--json", action="store_true", help="print JSON, scores are cosines")
    add("--runtime", choices=tuple(device.RUNTIMES), help="the first installed")
    add(
        "--model",
        choices=("int8", "float32"),
        default="int8",
        help="network that embeds the images (%(default)s)",
    )
    add(
        "--searcher",
        choices=device.SEARCHERS,
        default="auto",
        help="auto: ScaNN where it is quicker and installed (%(default)s)",
    )
    add("--threads", type=int, default=1, help="of the network (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
