"""Two sets of disjoint classes from one name."""

import os
import pathlib

import numpy as np

from keras_distill.data.class_split import class_split
from keras_distill.data.glyphs import glyphs
from keras_distill.data.image_folder import MEMORY_LIMIT, image_folder
from keras_distill.data.tfds_images import KNOWN, tfds_split


def load(
    name_or_folder,
    image_size,
    eval_classes=None,
    channels=None,
    memory_limit=MEMORY_LIMIT,
):
    """Loads the classes to train on and those to evaluate on.

    Args:
        name_or_folder: `"glyphs"`, see `keras_distill.data.glyphs`;
            `"tfds:omniglot"`, `"tfds:cars196"`, `"tfds:caltech_birds2011"` or
            `"tfds:stanford_online_products"`; or a folder in which a class is the
            path of the folder that holds the image, see
            `keras_distill.data.image_folder` (`"./glyphs"` if it is called so).
        image_size: Pixels: one number, or `(height, width)`.
        eval_classes: Globs over class names that say which evaluate, such as
            `["Greek/*", "Tagalog/*"]`. Defaults to the data set's own split by
            class where it has one; to the second half of the labels for cars196
            and caltech_birds2011, as the literature has it; else to a fifth of the
            classes, chosen by the hash of their names (`class_split`).
        channels: 1 or 3. Defaults to 1 where every image is grey, else 3.
        memory_limit: Bytes; a set whose decoded images need more is decoded anew
            in every epoch. Defaults to 1 GiB.

    Returns:
        `(train, evaluation)`: two `ImageSet` that share no class.

    Raises:
        FileNotFoundError: If the folder is missing.
        ValueError: If the name is unknown, the folder is empty, the globs match
            nothing or everything, or there are no pairs of images to match.
        ImportError: If a `tfds:` name is asked for without the extra `tfds`.

    Example:
        train, gallery = load("glyphs", image_size=32)
    """
    height, width = checked_size(image_size)
    if channels not in (None, 1, 3):
        raise ValueError(
            f"`channels` must be 1, 3 or None. Received: channels={channels}"
        )
    name = os.fspath(name_or_folder)
    if name == "glyphs":
        images = glyphs((height, width), channels=channels or 1)
        return class_split(images, eval_classes)
    if name.startswith("tfds:"):
        return tfds_split(name, (height, width), eval_classes, channels, memory_limit)
    if not pathlib.Path(name).exists():
        known = ", ".join(["glyphs", *KNOWN])
        raise FileNotFoundError(
            f"The data must be an existing folder or one of: {known}. "
            f"Received: name_or_folder={name!r}"
        )
    images = image_folder(name, (height, width), channels, memory_limit)
    return class_split(images, eval_classes)


def checked_size(image_size):
    """`(height, width)` of a number or a pair."""
    pair = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    whole = all(isinstance(n, int | np.integer) and n > 0 for n in pair)
    if len(pair) != 2 or not whole:
        raise ValueError(
            "`image_size` must be a positive integer or (height, width). "
            f"Received: image_size={image_size}"
        )
    return int(pair[0]), int(pair[1])
