"""Two sets of images with boxes from one name."""

import json
import os
import pathlib

from keras_distill.data.annotated import boxes_of_files
from keras_distill.data.coco_json import coco_files, coco_json
from keras_distill.data.compact_boxes import compact_boxes, is_compact
from keras_distill.data.fixed_views import id_keys
from keras_distill.data.image_folder import MEMORY_LIMIT
from keras_distill.data.load import checked_size
from keras_distill.data.split_mix import split_mix
from keras_distill.data.tfds_boxes import KNOWN, tfds_boxes
from keras_distill.data.voc_folder import is_voc, voc_folder

LAYOUTS = (
    "Pascal VOC (Annotations/*.xml, JPEGImages, ImageSets/Main), COCO "
    "(annotations/instances_SPLIT.json or SPLIT/_annotations.coco.json), or an "
    "annotations.json with 'classes' and 'images'"
)


def load_boxes(
    name_or_folder,
    image_size,
    evaluation=None,
    class_names=None,
    memory_limit=MEMORY_LIMIT,
):
    """Loads images with boxes to train on, and those to evaluate on.

    Images keep their shape: each is scaled by one factor until it fits `image_size`
    and is padded at the right or the bottom. Detectors with a pyramid want sides that
    are multiples of 32.

    Args:
        name_or_folder: `"tfds:bccd"`, `"tfds:voc"` or `"tfds:coco"`; or a folder as
            Pascal VOC, COCO or the format of `compact_boxes` have it; or a JSON file
            of one of the latter two.
        image_size: Pixels: one number, or `(height, width)`.
        evaluation: Name of the split to evaluate on. Defaults to the first whose name
            begins with `test`, else with `val`; of a set without, to a fifth of the
            images, chosen by the hash of their ids.
        class_names: Strings, the classes in the order of the labels. Defaults to the
            data set's own. That of a trained detector has to be given for another
            data set.
        memory_limit: Bytes; a set whose decoded images need more is decoded anew in
            every epoch. Defaults to 1 GiB.

    Returns:
        `(train, evaluation)`: two `BoxSet` that share no image. Trained on are the
        images of all splits but that of the evaluation and those called `test`.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If the folder is laid out in another way, a file is not what it
            should be, there is no such split, no image is left to train on, or a box
            has a class that is not in `class_names`.
        ImportError: If a `tfds:` name is asked for without the extra `tfds`.

    Example:
        train, test = load_boxes("../shared/data/bccd", image_size=(256, 320))
    """
    size = checked_size(image_size)
    name = os.fspath(name_or_folder)
    found = _annotations(name)
    train, held_out = _split(name, found, evaluation)
    classes = list(found.class_names if class_names is None else class_names)
    items = {item.id: item for item in found.items}
    if len(items) < len(found.items):
        raise ValueError(f"Ids of images must all be different. Received: {name}")
    return tuple(
        boxes_of_files(name, [items[one] for one in ids], classes, size, memory_limit)
        for ids in (train, held_out)
    )


def _annotations(name):
    if name.startswith("tfds:"):
        return tfds_boxes(name)
    path = pathlib.Path(name)
    if not path.exists():
        raise FileNotFoundError(
            f"The data must be an existing folder, laid out as {LAYOUTS}; or one of "
            f"{', '.join(KNOWN)}. Received: name_or_folder={name!r}"
        )
    if path.is_file():
        return _of_file(path)
    if is_voc(path):
        return voc_folder(path)
    if (path / "annotations.json").is_file():
        return _of_file(path / "annotations.json")
    if files := coco_files(path):
        return coco_json(files)
    raise ValueError(
        f"The folder must be laid out as {LAYOUTS}. Received: name_or_folder={name!r}"
    )


def _of_file(path):
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"Cannot read JSON ({error}). Received: file={path}") from None
    return compact_boxes(path) if is_compact(content) else coco_json([path])


def _split(name, found, evaluation):
    """Ids to train on and to evaluate on, each in the order of the data set."""
    splits = {split: set(ids) for split, ids in found.splits.items() if ids}
    if evaluation is None:
        begins = [s for word in ("test", "val") for s in splits if s.startswith(word)]
        evaluation = begins[0] if begins else None
    elif evaluation not in splits:
        raise ValueError(
            f"The split must be one of {', '.join(splits)}. "
            f"Received: evaluation={evaluation!r}"
        )
    everything = [item.id for item in found.items]
    if evaluation is None:
        order = split_mix(0, id_keys(everything)).argsort()
        held_out = {everything[row] for row in order[: -(-len(order) // 5)]}
        learned = set(everything) - held_out
    else:
        held_out = splits[evaluation]
        others = [ids for s, ids in splits.items() if not s.startswith("test")]
        learned = set().union(*others) - held_out
    if not learned or not held_out:
        raise ValueError(
            "There must be images to train on and others to evaluate on. Received: "
            f"{name!r} with { ({s: len(ids) for s, ids in splits.items()}) } images, "
            f"evaluation={evaluation!r}"
        )
    return [[one for one in everything if one in part] for part in (learned, held_out)]
