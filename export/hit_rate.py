"""Measure how often characters drawn by hand are found among the glyphs of a bundle.

The drawings are those of Omniglot: a folder an alphabet, in it a folder a character.
Needs numpy, Pillow and one interpreter, ai-edge-litert or tflite-runtime.
"""

import json
import pathlib
import re

import numpy as np

from keras_distill import command_line, device

# What people were shown, in the order of Omniglot's folders character01, ...
ALPHABETS = {
    "Latin": "abcdefghijklmnopqrstuvwxyz",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψω",
}
RANKS = (1, 5, 10)
EXAMPLE = "python -m export.hit_rate bundles/hand omniglot/images"


def main(argv=None):
    args = _parser().parse_args(argv)
    bundle = device.open_bundle(args.bundle, model=args.model)
    names = characters(bundle)
    found = {}
    for alphabet in args.alphabets:
        missing = [c for c in ALPHABETS[alphabet] if c not in names]
        ranks = []
        for character, file in drawings(args.drawings, alphabet):
            image = device.fit_ink(drawing(file), bundle.image_shape)
            ranks.append(rank(bundle, image, names.get(character)))
        found[alphabet] = {
            "drawings": len(ranks),
            "not_in_the_catalogue": missing,
            **{f"top_{k}": float(np.mean(np.array(ranks) < k)) for k in RANKS},
        }
    if args.json:
        print(json.dumps({"characters": len(set(bundle.classes)), **found}, indent=2))
    else:
        _show(bundle, found)


def characters(bundle):
    """Which class of a bundle of glyphs shows a character.

    Args:
        bundle: A `keras_distill.device.Bundle` whose classes are named as those of
            `keras_distill.data.glyphs`.

    Returns:
        Dictionary from a character, look-alikes included, to the name of a class.

    Raises:
        ValueError: If a class is named otherwise.
    """
    found = {}
    for name in sorted(set(bundle.classes)):
        for other in (name, *bundle.synonyms.get(name, ())):
            code = re.match(r"U\+([0-9A-F]{4,6}) ", other)
            if code is None:
                raise ValueError(
                    "The catalogue must be of glyphs, whose classes are named like "
                    f"'U+0061 LATIN SMALL LETTER A'. Received: {other!r}"
                )
            found[chr(int(code[1], 16))] = name
    return found


def drawings(folder, alphabet):
    """Yields `(character, path)` of every drawing of an alphabet.

    Args:
        folder: `pathlib.Path` that holds the folder of the alphabet.
        alphabet: One of `ALPHABETS`.

    Raises:
        FileNotFoundError: If a character has no folder, or that no drawing.
    """
    for number, character in enumerate(ALPHABETS[alphabet], 1):
        place = folder / alphabet / f"character{number:02d}"
        files = sorted(place.glob("*.png"))
        if not files:
            raise FileNotFoundError(
                f"Drawings of {character!r} are expected as .png. Received: {place}"
            )
        yield from ((character, file) for file in files)


def drawing(file):
    """A drawing as it is: uint8 `(height, width)`, dark on light."""
    from PIL import Image

    with Image.open(file) as image:
        width, height = image.size
    return device.read_image(file, (height, width, 1))[..., 0]


def rank(bundle, image, wanted):
    """How many other characters are nearer to an image; infinite if all are.

    Each character counts once, by the nearest of its glyphs, as on the page.

    Args:
        bundle: A `keras_distill.device.Bundle`.
        image: uint8 array of its `image_shape`.
        wanted: Name of a class, or `None` for one that is not there.
    """
    if wanted is None:
        return float("inf")
    scores = bundle.rows @ bundle.embed(image[None])[0]
    places = {name: place for place, name in enumerate(dict.fromkeys(bundle.classes))}
    best = np.full(len(places), -1.0, np.float32)
    np.maximum.at(best, [places[name] for name in bundle.classes], scores)
    return int(np.sum(best > best[places[wanted]]))


def _show(bundle, found):
    names = len(set(bundle.classes))
    print(f"among {len(bundle):,} glyphs of {names:,} characters")
    for alphabet, facts in found.items():
        rates = ", ".join(f"top {k} {100 * facts[f'top_{k}']:.1f} %" for k in RANKS)
        print(f"  {alphabet}: {facts['drawings']} drawings, {rates}")
        if facts["not_in_the_catalogue"]:
            absent = " ".join(facts["not_in_the_catalogue"])
            print(f"    not in the catalogue, and so never found: {absent}")


def _parser():
    parser = command_line.parser(
        "export.hit_rate",
        "Measure how often characters drawn by hand are among the first that a bundle "
        "of glyphs finds.",
        "BUNDLE DRAWINGS [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("bundle", type=pathlib.Path, help="folder that export.bundle wrote")
    add("drawings", type=pathlib.Path, help="Omniglot's images: ALPHABET/characterNN/")
    add(
        "--alphabets",
        nargs="+",
        choices=tuple(ALPHABETS),
        default=list(ALPHABETS),
        help="(all of them)",
    )
    add("--model", choices=("int8", "float32"), default="int8", help="(%(default)s)")
    add("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    command_line.run(main)
