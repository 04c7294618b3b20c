"""Add images to the catalogue of a bundle and take others out of it.

Needs neither the student nor the images that are there already. The new bundle takes
the place of the old one in one step.
"""

import json
import pathlib

import keras_distill as kd
from keras_distill import command_line

EXAMPLE = """\
python -m export.update bundles/glyphs --add new/images
python -m export.update bundles/mine --remove A/1.png A/2.png --add corrected
python -m export.update bundles/mine --add bundles/yours"""


def main(argv=None):
    args = _parser().parse_args(argv)
    if args.add is None and not args.remove:
        raise ValueError("There must be something to --add or to --remove.")
    add = args.add
    if add is not None and not (add / "manifest.json").is_file():
        from keras_distill.device import manifest, manifest_fields

        found = manifest.read_manifest(args.bundle)
        manifest_fields.check_kind(found, args.bundle, "embedder")
        height, width, channels = found["input"]["shape"]
        add = kd.data.image_folder(add, (height, width), channels)
    manifest = kd.retrieval.update_bundle(args.bundle, add, args.remove)
    catalogue, updated = manifest["catalogue"], manifest["updated"]
    if args.json:
        names = ("catalogue", "search", "thresholds", "updated")
        result = {name: manifest[name] for name in names}
        print(json.dumps({"bundle": str(args.bundle), **result}, indent=2))
        return
    print(
        f"{args.bundle}: {updated['added']:,} added, {updated['removed']:,} removed, "
        f"{catalogue['images']:,} images of {catalogue['classes']:,} classes to find"
    )
    left_out = [name for name in updated["left_out"] if name != "thumbnails"]
    if left_out:
        print(f"Left out, they need the student: {', '.join(left_out)}")
    if left_out != updated["left_out"]:
        print("Left out: thumbnails, of which a bundle that was added has none")


def _parser():
    parser = command_line.parser(
        "export.update",
        "Add images to the catalogue of a bundle and take others out; the networks "
        "stay. A crash leaves the old bundle or the new one.",
        "BUNDLE [--add FOLDER] [--remove ID...] [options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("bundle", type=pathlib.Path, help="folder that export.bundle wrote")
    add(
        "--add",
        type=pathlib.Path,
        metavar="FOLDER",
        help="of class folders with images; or another bundle of the same student",
    )
    add("--remove", nargs="+", default=[], metavar="ID", help="ids to take out")
    add("--json", action="store_true", help="print what came of it as JSON")
    return parser


if __name__ == "__main__":
    command_line.run(main)
