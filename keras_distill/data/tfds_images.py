"""Retrieval data sets by their names in TensorFlow Datasets."""

import numpy as np

from keras_distill.data.class_split import check_pairs, class_split
from keras_distill.data.image_folder import checked_files
from keras_distill.data.progress import progress


def _omniglot(record, features):
    alphabet = features["alphabet"].int2str(int(record["alphabet"]))
    return f"{alphabet}/character{int(record['alphabet_char_id']):02d}"


def _products(record, features):
    kind = features["super_class_id"].int2str(int(record["super_class_id"]))
    return f"{kind}/{int(record['class_id']):05d}"


def _label(record, features):
    return features["label"].int2str(int(record["label"]))


# What names the class of a record, and by what key classes are numbered. The splits
# of the first two share no class; those of the others hold every class.
_OPEN = {
    "tfds:omniglot": _omniglot,
    "tfds:stanford_online_products": _products,
}
_CLOSED = {"tfds:cars196": _label, "tfds:caltech_birds2011": _label}
KNOWN = (*_OPEN, *_CLOSED)


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
        `(train, evaluation)`, both `ImageSet`. Ids are `name/split/number`.

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
    evaluation = images.take_classes(test_classes)
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
    builder = tfds.builder(name.removeprefix("tfds:"))
    builder.download_and_prepare()
    features = builder.info.features
    naming = _OPEN.get(name) or _CLOSED[name]
    files, ids, classes, split_of = [], [], [], {}
    for split in ("train", "test"):
        dataset = builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders={"image": tfds.decode.SkipDecoding()},
        )
        count = builder.info.splits[split].num_examples
        records = progress(dataset.as_numpy_iterator(), count, f"{name} {split}")
        for number, record in enumerate(records):
            files.append(record["image"])
            ids.append(f"{name}/{split}/{number:06d}")
            classes.append(naming(record, features))
            split_of.setdefault(classes[-1], split)
    if name in _CLOSED:
        labels = features["label"].names
        test_classes = set(labels[len(labels) // 2 :])
    else:
        test_classes = {one for one, split in split_of.items() if split == "test"}
    # Classes in the order of the data set's labels, whatever that of the records.
    order = np.argsort(_ranks(classes, features, name), kind="stable")
    images = checked_files(
        name,
        [files[row] for row in order],
        [ids[row] for row in order],
        [classes[row] for row in order],
        image_size,
        channels,
        memory_limit,
    )
    return images, test_classes & set(images.class_names)


def _ranks(classes, features, name):
    if name in _CLOSED:
        return [features["label"].str2int(one) for one in classes]
    rank = {one: number for number, one in enumerate(sorted(set(classes)))}
    return [rank[one] for one in classes]
