"""A folder of groups of images: the folder that holds images is their group."""

import os
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from keras_distill.data.fixed_views import FixedViews
from keras_distill.data.groups import GroupRows, check_count, padded_groups
from keras_distill.data.image_folder import MEMORY_LIMIT, SUFFIXES, checked_files


def group_folders(
    folder, image_size, channels=None, batch_size=32, memory_limit=MEMORY_LIMIT
) -> tf.data.Dataset:
    """Groups of images as they lie in folders, in padded batches with a mask.

    A group is a folder that holds images, or no folders: `folder/person/burst/` is a
    group of the class `person`, and `folder/person/` with images of its own is a group
    of that class too. A group right below `folder` is thus its own class; where there
    are more than two levels, a class is the path above the group. Images in `folder`
    itself are a group named `"."`. Groups, and the images in them, are in the order of
    their paths. Names that begin with a dot are passed over, as are files that are not
    called like an image.

    Broken files are left out and named by one warning, as `image_folder` does it. A
    group of none, whose folder holds no image or broken ones alone, stays in its place
    with a mask of False, which pools to a vector of zeros: what is counted over groups
    does not get better because nothing was found in one. A warning names such groups.

    Args:
        folder: The path of the folder. Links are followed.
        image_size: `(height, width)` in pixels, or one number for both.
        channels: 1 or 3. Defaults to 1 where every image is grey, else 3.
        batch_size: Groups in a batch; the last one may have fewer.
        memory_limit: Bytes of decoded images to keep, see `image_folder`. Defaults to
            1 GiB.

    Returns:
        Finite `tf.data.Dataset` of `({"image": (G, N, H, W, C) float32 in [0, 255],
        "mask": (G, N) bool}, labels (G,) int32)`, of known cardinality, in the order
        of the groups. N is the size of the largest group; members come first, padding
        is 0. It has the attributes `group_names`, in that order, and `class_names`,
        which labels count, tuples of strings; datasets derived from it lack them.

    Raises:
        FileNotFoundError: If the folder is missing.
        NotADirectoryError: If it is a file.
        ValueError: If it holds no image that can be read, or `batch_size` is not a
            positive integer.
    """
    check_count("batch_size", batch_size)
    root = pathlib.Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"There must be such a folder. Received: folder={root}")
    if not root.is_dir():
        raise NotADirectoryError(
            f"A folder is expected, not a file. Received: folder={root}"
        )
    found = _groups(root)
    ids = [path for paths in found.values() for path in paths]
    if not ids:
        raise ValueError(
            "The folder must hold images, in one folder for each group "
            f"({' '.join(sorted(SUFFIXES))}). Received: folder={root}"
        )
    files = [str(root / path) for path in ids]
    images = checked_files(
        str(root),
        files,
        ids,
        [str(root)] * len(ids),
        image_size,
        channels,
        memory_limit,
    )
    plan, class_names = _plan(found, images)
    empty = [
        name for name, row in zip(found, plan.rows, strict=True) if (row < 0).all()
    ]
    if empty:
        some = ", ".join(map(repr, empty[:5])) + (", ..." if len(empty) > 5 else "")
        warnings.warn(
            f"{len(empty)} of {len(found)} groups of {str(root)!r} have no image and "
            f"stay as groups of none: {some}",
            stacklevel=2,
        )
    dataset = padded_groups(
        images,
        FixedViews(None, count=1),
        lambda: plan,
        plan.rows.shape,
        batch_size,
    )
    dataset.group_names = tuple(found)
    dataset.class_names = class_names
    return dataset


def _groups(root):
    """Names of groups, in order, with the paths of their images relative to `root`."""
    found, visited = {}, set()
    for place, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # A link that leads back, or a folder linked twice.
            inner.clear()
            continue
        visited.add(real)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        group = pathlib.Path(place).relative_to(root)
        paths = sorted(
            (group / name).as_posix()
            for name in names
            if os.path.splitext(name)[1].lower() in SUFFIXES and name[0] != "."
        )
        if paths or not inner:
            found[group.as_posix()] = paths
    return dict(sorted(found.items()))


def _plan(found, images):
    """`(GroupRows, class names)` of the images that could be read."""
    row_of = {path: row for row, path in enumerate(images.ids)}
    members = [
        [row_of[path] for path in paths if path in row_of] for paths in found.values()
    ]
    rows = np.full((len(found), max(map(len, members))), -1, np.int64)
    for group, own in enumerate(members):
        rows[group, : len(own)] = own
    classes = [name.rpartition("/")[0] or name for name in found]
    class_names = tuple(sorted(set(classes)))
    labels = np.array([class_names.index(name) for name in classes], np.int32)
    return GroupRows(rows, np.zeros_like(rows), labels), class_names
