"""Write query images to try a bundle with: some of its catalogue, turned a little.

They are made from `golden.npz`, so that neither the data nor TensorFlow is needed.
"""

import pathlib
import re

import numpy as np

from keras_distill import atomic, command_line

DEGREES = 6.0  # within what the training augments by


def main(argv=None):
    args = _parser().parse_args(argv)
    golden = args.bundle / "golden.npz"
    if not golden.is_file():
        raise FileNotFoundError(f"There is no bundle here. Received: {args.bundle}")
    with np.load(golden) as file:
        if "ids" not in file:
            raise ValueError(
                "The bundle must have a catalogue, that of a detector has none. "
                f"Received: {args.bundle}"
            )
        images, ids = file["images"], file["ids"][:, 0]
    if not 1 <= args.count <= len(images):
        raise ValueError(
            f"--count must lie in [1, {len(images)}]. Received: {args.count}"
        )
    chosen = np.linspace(0, len(images) - 1, args.count).round().astype(int)
    for turn, row in enumerate(chosen):
        name = re.sub(r"\.[A-Za-z]{3,4}$", "", str(ids[row]))  # of an image file
        path = args.out / (re.sub(r"[^\w+.-]+", "_", name) + ".png")
        with atomic.file(path) as temporary:
            turned(images[row], DEGREES * (-1) ** turn).save(temporary)
        print(path)


def turned(image, degrees):
    """An image of the catalogue as a camera held askew would see it.

    Args:
        image: uint8 array `(height, width, channels)`.
        degrees: By how much it is turned, against the clock.

    Returns:
        A `PIL.Image.Image` of the same size; corners are filled with the colour of
        the first pixel.
    """
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    background = picture.getpixel((0, 0))
    return picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=background)


def _parser():
    parser = command_line.parser(
        "export.queries",
        "Write some images of a bundle's catalogue, turned a little, to search the "
        "bundle with.",
        "BUNDLE --out FOLDER [options]",
        "python -m export.queries bundles/glyphs --out queries --count 3",
    )
    add = parser.add_argument
    add("bundle", type=pathlib.Path, help="folder that export.bundle wrote")
    add("--out", required=True, type=pathlib.Path, help="folder for the images")
    add("--count", type=int, default=4, help="how many (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
