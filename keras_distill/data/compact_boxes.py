"""One JSON file that lists images with splits, boxes and labels."""

import json
import pathlib

from keras_distill.data.annotated import Annotated, Annotations


def is_compact(content):
    """Whether the content of a JSON file has the parts of the format."""
    return isinstance(content, dict) and {"images", "classes"} <= set(content)


def compact_boxes(path):
    """Reads a file of the format

        {"classes": ["RBC", "WBC"],
         "images": [{"id": "a", "file": "images/a.jpg", "split": "train",
                     "boxes": [[x1, y1, x2, y2]], "labels": [0]}]}

    Boxes are corners in pixels, labels places in `classes`; `file` is relative to the
    folder of the JSON file. `id` defaults to `file`, `split` to `"all"`; `ignored`, a
    list of 0 and 1, to none. Other entries are passed over.

    Args:
        path: Path of the JSON file.

    Returns:
        `Annotations`.

    Raises:
        ValueError: If the file is no JSON or lacks an entry; if boxes and labels are
            not as many; or if a label is out of range.
    """
    path = pathlib.Path(path)
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"Cannot read JSON ({error}). Received: file={path}") from None
    if not is_compact(content):
        raise ValueError(
            f"The file must have 'classes' and 'images'. Received: file={path}"
        )
    names, items, splits = content["classes"], [], {}
    for image in content["images"]:
        missing = {"file", "boxes", "labels"} - set(image)
        if missing:
            raise ValueError(
                f"Every image must have {', '.join(sorted(missing))}. "
                f"Received: image={image.get('id', image)} in {path}"
            )
        name, labels = image.get("id", image["file"]), image["labels"]
        counts = {len(labels), len(image["boxes"]), len(image.get("ignored", labels))}
        if len(counts) > 1 or any(len(box) != 4 for box in image["boxes"]):
            raise ValueError(
                "Each box must be four numbers and have one label. "
                f"Received: image={name!r} in {path}"
            )
        unknown = [one for one in labels if one not in range(len(names))]
        if unknown:
            raise ValueError(
                f"Labels must be places among the {len(names)} classes. "
                f"Received: label={unknown[0]!r}, image={name!r} in {path}"
            )
        items.append(
            Annotated(
                name,
                str(path.parent / image["file"]),
                image["boxes"],
                tuple(names[label] for label in labels),
                tuple(map(bool, image.get("ignored", ()))),
            )
        )
        splits.setdefault(image.get("split", "all"), []).append(name)
    return Annotations(items, splits, names)
