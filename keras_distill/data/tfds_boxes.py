"""Detection data sets by their names in TensorFlow Datasets."""

import numpy as np

from keras_distill.data.annotated import Annotated, Annotations
from keras_distill.data.progress import progress

# Of each data set, the splits that have boxes.
_SETS = {
    "tfds:bccd": ("train", "validation", "test"),
    "tfds:coco": ("train", "validation"),
    "tfds:voc": ("train", "validation", "test"),
}
KNOWN = tuple(_SETS)


def tfds_boxes(name):
    """Reads a detection data set of TensorFlow Datasets; images stay encoded.

    `tfds:voc` is Pascal VOC 2007, `tfds:coco` is COCO 2014: their builders' defaults;
    `"tfds:coco/2017"` and `"tfds:voc/2012"` name another. What is marked as difficult
    or as a crowd is ignored, see `BoxSet`.

    Args:
        name: One of `KNOWN`, or one of these with a configuration behind a slash.

    Returns:
        `Annotations`; ids are `name/split/number`.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        ValueError: If the name is not among those known.
    """
    if name.partition("/")[0] not in KNOWN:
        raise ValueError(
            f"The data set must be one of {', '.join(KNOWN)}. Received: name={name!r}"
        )
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name} needs TensorFlow Datasets: pip install 'keras_distill[tfds]'"
        ) from error
    builder = tfds.builder(name.removeprefix("tfds:"))
    builder.download_and_prepare()
    classes = builder.info.features["objects"]["label"]
    items, splits = [], {}
    for split in _SETS[name.partition("/")[0]]:
        if split not in builder.info.splits:
            continue
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
        count = builder.info.splits[split].num_examples
        records = progress(dataset.as_numpy_iterator(), count, f"{name} {split}")
        for position, record in enumerate(records):
            item = _item(f"{name}/{split}/{position:06d}", record, classes)
            items.append(item)
            splits.setdefault(split, []).append(item.id)
    return Annotations(items, splits, list(classes.names))


def _item(name, record, classes):
    objects = record["objects"]
    ignored = objects.get("is_crowd", objects.get("is_difficult"))
    return Annotated(
        name,
        record["image"],
        np.reshape(objects["bbox"], (-1, 4))[:, [1, 0, 3, 2]],  # it has y before x
        tuple(classes.int2str(int(label)) for label in objects["label"]),
        () if ignored is None else tuple(map(bool, ignored)),
        relative=True,
    )
