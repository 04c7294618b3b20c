"""Search a bundle with images: what a device does, without TensorFlow or Keras.

Needs numpy, Pillow and one interpreter, ai-edge-litert or tflite-runtime; draws its
table with rich where that is installed.
"""

import json
import pathlib
import sys

import numpy as np

from export import answer_picture, answers
from keras_distill import atomic, command_line, device

DEFAULT_K = 5
PICTURES = (".png", ".jpg", ".jpeg")

EXAMPLE = """\
python -m export.search bundles/glyphs letter.png
python -m export.search bundles/glyphs photos/*.jpg --k 10 --json
python -m export.search bundles/glyphs photos/*.jpg --picture found.png
python -m export.search bundles/faces a.png b.png c.png --group --keep 2
python -m export.search bundles/shapes photo.jpg --detector bundles/cells"""


def main(argv=None):
    args = _parser().parse_args(argv)
    if args.keep is not None and not args.group:
        raise ValueError(
            "--keep says how many images of a group to embed: it needs --group. "
            f"Received: --keep {args.keep}"
        )
    _check_detector_flags(args)
    _check_picture(args)
    bundle = device.open_bundle(args.bundle, args.runtime, args.model, args.threads)
    if args.group:
        bundle.check_scorer()
    k = min(DEFAULT_K, len(bundle)) if args.k is None else args.k
    if args.detector is not None:
        return _search_objects(args, bundle, k)
    files, images = _read(args.images, bundle.image_shape)
    if args.group:
        found = _ask_as_one(bundle, files, images, k, args.keep, args.searcher)
    else:
        found = [
            {"image": file, **_answer(bundle, image, k, args.searcher)}
            for file, image in zip(files, images, strict=True)
        ]
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif args.group:
        answers.show_group(found)
    else:
        answers.show(found)
    if files:
        draw = answer_picture.of_group if args.group else answer_picture.of_images
        _draw(args, draw, found, bundle)
    return 0 if len(files) == len(args.images) else 1


def _check_detector_flags(args):
    """What is found in a photo is asked for one by one; the flags of that need it."""
    given = {"--score": args.score, "--margin": args.margin}
    given = {name: value for name, value in given.items() if value is not None}
    if args.detector is None and given:
        raise ValueError(
            f"{', '.join(given)}: of what a detector finds, name one with --detector. "
            f"Received: {given}"
        )
    if args.margin is not None and not 0 <= args.margin < float("inf"):
        raise ValueError(
            f"--margin must be a number from 0 on. Received: --margin {args.margin}"
        )
    if args.detector is not None and args.group:
        raise ValueError(
            "--group asks with all images as one query, --detector with each thing "
            f"that is found in them. Received: --group --detector {args.detector}"
        )


def _check_picture(args):
    """Before anything is searched for."""
    if args.picture is None:
        return
    if args.picture.suffix.lower() not in PICTURES:
        raise ValueError(
            f"--picture must end in one of {', '.join(PICTURES)}. "
            f"Received: --picture {args.picture}"
        )
    if args.picture.exists() and not args.overwrite:
        raise FileExistsError(
            "--picture is there already: --overwrite replaces it. "
            f"Received: --picture {args.picture}"
        )


def _draw(args, draw, found, bundle):
    if args.picture is None:
        return
    with atomic.file(args.picture) as temporary:
        draw(found, bundle).save(temporary)
    # What is printed as JSON stays that.
    print(args.picture, file=sys.stderr if args.json else sys.stdout)


def _search_objects(args, bundle, k):
    """Detects, cuts out, embeds, searches; prints what each thing is."""
    detector = device.open_detector(
        args.detector, args.runtime, args.model, args.threads, args.score
    )
    results = []
    for path in args.images:
        try:
            found = detector.find(path)
            crops = device.read_crops(
                path, found.boxes, bundle.image_shape, args.margin or 0.0
            )
        except (ValueError, OSError) as error:
            # The other images are answered all the same.
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            continue
        things = zip(found.names, found.scores, found.boxes, crops, strict=True)
        objects = [
            {
                "class": name,
                "score": float(score),
                "box": [round(float(side), 2) for side in box],
                **_answer(bundle, crop, k, args.searcher),
            }
            for name, score, box, crop in things
        ]
        results.append(
            {"image": str(path), "size": list(found.size), "objects": objects}
        )
    if args.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        answers.show_objects(results, detector.threshold)
    if results:
        _draw(args, answer_picture.of_objects, results, bundle)
    return 0 if len(results) == len(args.images) else 1


def _read(paths, image_shape):
    """The images that can be read and their names; the others are named as errors."""
    files, images = [], []
    for path in paths:
        try:
            images.append(device.read_image(path, image_shape))
            files.append(str(path))
        except (ValueError, OSError) as error:
            # The other images are answered all the same.
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return files, images


def _ask_as_one(bundle, files, images, k, keep, searcher):
    """What the images find together; nothing where none of them could be read."""
    if not images:
        return {"images": [], "embedded": 0, "neighbours": []}
    group = bundle.embed_group(np.stack(images), keep)
    members = zip(files, group.scores, group.weights, strict=True)
    return {
        "images": [
            {
                "image": file,
                "score": float(score),
                "weight": float(weight),
                "embedded": row in group.embedded,
            }
            for row, (file, score, weight) in enumerate(members)
        ],
        "embedded": len(group.embedded),
        **_answer(bundle, group.embedding, k, searcher),
    }


def _answer(bundle, query, k, searcher):
    """The neighbours of a query, and by the bundle's thresholds what they are."""
    scores, rows = bundle.nearest(query[None], k, searcher)
    neighbours = [
        {"id": bundle.ids[row], "class": bundle.classes[row], "score": float(score)}
        for row, score in zip(rows[0], scores[0], strict=True)
    ]
    if not bundle.has_thresholds():
        return {"neighbours": neighbours}
    for found, match in zip(neighbours, bundle.match(scores[0]), strict=True):
        found["match"] = bool(match)
    return {
        "neighbours": neighbours,
        "no_match": bool(bundle.no_match(scores)[0]),
        "known_accepted": bundle.known_accepted(),
    }


def _parser():
    parser = command_line.parser(
        "export.search",
        "Find the images of a bundle's catalogue that are nearest to yours. Runs "
        "without TensorFlow: numpy, Pillow and a TFLite interpreter are enough.",
        "BUNDLE IMAGE... [--detector BUNDLE] [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("bundle", type=pathlib.Path, help="folder that export.bundle wrote")
    add("images", nargs="+", type=pathlib.Path, metavar="IMAGE", help="of any size")
    add("--k", type=int, help=f"how many neighbours ({DEFAULT_K})")
    add("--json", action="store_true", help="print JSON, scores are cosines")
    add(
        "--picture",
        type=pathlib.Path,
        metavar="FILE",
        help="draw what is found, and the thumbnails of the bundle beside it",
    )
    add("--overwrite", action="store_true", help="replace the picture, if it is there")
    add(
        "--group",
        action="store_true",
        help="all images show one thing: weigh them by their scores, ask once",
    )
    add("--keep", type=int, help="of a group: embed only the best (the bundle's)")
    add(
        "--detector",
        type=pathlib.Path,
        metavar="BUNDLE",
        help="of a detector: search for each thing that it finds in the images",
    )
    add("--score", type=float, help="of what it finds, the least (the bundle's)")
    add(
        "--margin",
        type=float,
        metavar="PART",
        help="of a box's sides, taken along around it (0)",
    )
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
        help="auto: the search file, else what is quickest here (%(default)s)",
    )
    add("--threads", type=int, default=1, help="of the network (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
