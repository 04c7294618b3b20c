"""COCO: one JSON file of boxes for each split."""

import json
import pathlib

from keras_distill.data.annotated import Annotated, Annotations

_KEYS = {"images", "annotations", "categories"}
_NAMES = ("annotations/instances_*.json", "*/_annotations.coco.json")
_NAMES += ("annotations/*.json", "*.json")


def coco_files(folder):
    """Paths of the annotation files in `folder`; none if it is not laid out so.

    `annotations/instances_SPLIT.json`, as COCO has it; `SPLIT/_annotations.coco.json`;
    or any `annotations/*.json` or `*.json` with boxes in it.
    """
    for pattern in _NAMES:
        found = sorted(folder.glob(pattern))
        if pattern == "*/_annotations.coco.json" and found:
            return found
        if found := [path for path in found if is_coco(_opened(path))]:
            return found
    return []


def is_coco(content):
    """Whether the content of a JSON file has the parts of the format."""
    return isinstance(content, dict) and _KEYS <= set(content)


def coco_json(paths):
    """Reads files of the format, one a split.

    An image is looked for under its `file_name` in the folder of the JSON file, in
    the one above, and in these in `images`, in `SPLIT` and in `images/SPLIT`; its id
    is `SPLIT/file_name`. Crowds (`iscrowd`) are ignored, see `BoxSet`.

    Args:
        paths: Paths of JSON files. The split is the name of the file without
            `instances_`, or for `_annotations.coco.json` that of its folder.

    Returns:
        `Annotations`; classes in the order of their numbers, which may have gaps.

    Raises:
        ValueError: If a file is no JSON, lacks what the format has, has a box of an
            unknown image or category, or other categories than the first.
    """
    items, splits, categories, used = [], {}, None, set()
    for path in map(pathlib.Path, paths):
        content = _opened(path)
        if not is_coco(content):
            raise ValueError(
                "The file must be COCO's JSON, with images, annotations and "
                f"categories. Received: file={path}"
            )
        split = path.stem.removeprefix("instances_")
        split = path.parent.name if split == "_annotations.coco" else split
        try:
            own = sorted((one["id"], one["name"]) for one in content["categories"])
            some = _items(path, split, content)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"An entry is not as COCO's format has it ({error!r}). "
                f"Received: file={path}"
            ) from error
        if categories not in (None, own):
            raise ValueError(
                f"The categories must be those of {paths[0]}: {categories}. "
                f"Received: {own} in {path}"
            )
        categories = own
        items += some
        splits[split] = [item.id for item in some]
        used.update(label for item in some for label in item.labels)
        groups = {
            one.get("supercategory")
            for one in content["categories"]
            if one.get("supercategory") != one["name"]
        }
    # Roboflow lists the group of the categories as one of them; it has no box.
    names = [name for _, name in categories if name in used or name not in groups]
    return Annotations(items, splits, names)


def _items(path, split, content):
    names = {one["id"]: one["name"] for one in content["categories"]}
    boxes = {image["id"]: [] for image in content["images"]}
    for one in content["annotations"]:
        if one["image_id"] not in boxes or one["category_id"] not in names:
            raise ValueError(
                "A box must be of an image and a category that the file has. Received: "
                f"annotation {one.get('id')} of image {one['image_id']}, "
                f"category {one['category_id']} in {path}"
            )
        boxes[one["image_id"]].append(one)
    folders = [
        root / inner
        for root in (path.parent, path.parent.parent)
        for inner in ("", "images", split, f"images/{split}")
    ]
    items = []
    for image in content["images"]:
        own = boxes[image["id"]]
        size = (image.get("width"), image.get("height"))
        items.append(
            Annotated(
                f"{split}/{image['file_name']}",
                _found(folders, image["file_name"]),
                [_corners(*one["bbox"]) for one in own],
                tuple(names[one["category_id"]] for one in own),
                tuple(bool(one.get("iscrowd", 0)) for one in own),
                size if all(size) else None,
            )
        )
    return items


def _corners(x, y, width, height):
    return x, y, x + width, y + height


def _found(folders, name):
    paths = [folder / name for folder in folders]
    return str(next((path for path in paths if path.is_file()), paths[0]))


def _opened(path):
    try:
        return json.loads(pathlib.Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"Cannot read JSON ({error}). Received: file={path}") from None
