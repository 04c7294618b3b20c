"""Retrieval data sets by their names in TensorFlow Datasets."""

import numpy as np

from keras_distill.data.class_split import check_pairs, class_split
from keras_distill.data.image_folder import checked_files
from keras_distill.data.progress import progress

# Of each data set: the feature that numbers the classes, how a record's class is
# called, and whether `train` and `test` share classes. Those that do are split by
# number instead.


def _omniglot(record, features):
    alphabet = features["alphabet"].int2str(int(record["alphabet"]))
    return f"{alphabet}/character{int(record['alphabet_char_id']):02d}"


def _products(record, features):
    kind = features["super_class_id"].int2str(int(record["super_class_id"]))
    return f"{kind}/{int(record['class_id']):05d}"


def _cars(record, features):
    return features["label"].int2str(int(record["label"]))


def _birds(record, features):
    return record["label_name"].decode()


_SETS = {
    "tfds:omniglot": ("label", _omniglot, False),
    "tfds:cars196": ("label", _cars, True),
    "tfds:caltech_birds2011": ("label", _birds, True),
    "tfds:stanford_online_products": ("class_id", _products, False),
}
KNOWN = tuple(_SETS)


def tfds_split(name, image_size, eval_classes, channels, memory_limit):
    """Loads a data set of TensorFlow Datasets, split by class.

    Both splits, `train` and `test`, are read. omniglot and stanford_online_products
    share no class between them and keep them. cars196 and caltech_birds2011 are
    pooled: the first half of the labels trains, the second evaluates. Files are
    decoded by `read_image`, as those of a folder; images of a set too large for
    `memory_limit` stay in memory as the files they are, encoded.

    Args:
        name: One of `KNOWN`.
        image_size: `(height, width)`.
        eval_classes: Globs over class names, or None, see `class_split`.
        channels: 1, 3 or None.
        memory_limit: Bytes.

    Returns:
        `(train, evaluation)`, both `ImageSet`. Ids are `name/split/number`; classes
        are in the order of the data set's labels.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        ValueError: If the name is not among those known.
    """
    if name not in KNOWN:
        raise ValueError(
            f"The data set must be one of {', '.join(KNOWN)}. Received: name={name!r}"
        )
    images, test_classes = _read(name, image_size, channels, memory_limit)
    if eval_classes is not None:
        return class_split(images, eval_classes)
    train = images.take_classes(lambda one: one not in test_classes)
    evaluation = images.take_classes(lambda one: one in test_classes)
    check_pairs(train, "train")
    check_pairs(evaluation, "evaluate")
    return train, evaluation


def _read(name, image_size, channels, memory_limit):
    """All images of both splits, and the names of the classes that evaluate."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            f"{name} needs TensorFlow Datasets: pip install 'keras_distill[tfds]'"
        ) from error
    number, class_name, shared = _SETS[name]
    builder = tfds.builder(name.removeprefix("tfds:"))
    builder.download_and_prepare()
    features = builder.info.features
    encoded = {
        key: tfds.decode.SkipDecoding()
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image)
    }
    files, ids, classes, numbers, test_classes = [], [], [], [], set()
    for split in ("train", "test"):
        dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=encoded)
        count = builder.info.splits[split].num_examples
        records = progress(dataset.as_numpy_iterator(), count, f"{name} {split}")
        for position, record in enumerate(records):
            files.append(record["image"])
            ids.append(f"{name}/{split}/{position:06d}")
            classes.append(class_name(record, features))
            numbers.append(int(record[number]))
            half = features[number].num_classes // 2
            if numbers[-1] >= half if shared else split == "test":
                test_classes.add(classes[-1])
    order = np.argsort(numbers, kind="stable")
    images = checked_files(
        name,
        [files[row] for row in order],
        [ids[row] for row in order],
        [classes[row] for row in order],
        image_size,
        channels,
        memory_limit,
    )
    return images, test_classes
