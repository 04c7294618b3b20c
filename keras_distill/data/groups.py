"""Groups of images of a class, such as a burst of photos, in padded batches."""

import itertools
import numbers
import typing

import numpy as np
import tensorflow as tf

from keras_distill.data.fixed_views import FixedViews
from keras_distill.data.image_set import ImageSet
from keras_distill.data.split_mix import split_mix

# Views to choose from where each shall be new: that one comes again takes 10**9 images.
_ENDLESS = 2**62


class GroupRows(typing.NamedTuple):
    """Which images make up groups.

    Attributes:
        rows: int64 `(groups, N)`: positions in the image set; -1 is padding, which
            comes last.
        views: int64 `(groups, N)`: the view of each image, 0 in padding.
        labels: int32 `(groups,)`: the class of each group.
    """

    rows: np.ndarray
    views: np.ndarray
    labels: np.ndarray


def groups(
    images,
    size,
    groups_per_class=1,
    degrade=None,
    batch_size=32,
    seed=0,
    ragged=False,
    first_pass=0,
) -> tf.data.Dataset:
    """Random groups of images of a class, each with a mask of its members.

    Iterating once is one pass: `groups_per_class` groups of every class that has
    images. **No image is in two groups of a pass**, so that one group can be searched
    for with another. The first groups of all classes come first, in the order of their
    labels, then the second ones, and so on: with C classes, the first C groups make a
    gallery and the next C probes. The n-th iteration (from 0) yields pass
    `first_pass + n` of `seed`, always the same; other passes draw other groups.

    Args:
        images: `ImageSet`.
        size: Images in a group, at least 1; or `(least, most)`: sizes are then drawn,
            all equally likely, and the largest of a class are cut, one image after
            another, where the class has too few images for them.
        groups_per_class: Groups of each class in a pass.
        degrade: What is done to the images before anybody sees them: `FixedViews`, of
            which each member shows a view by chance; or a Keras layer with
            `draws_per_image`, such as `layers.RandomDegradation`, or a list of them,
            which spoil each member of each pass anew.
        batch_size: Groups in a batch; the last one may have fewer.
        seed: Integer.
        ragged: Whether classes with too few images have smaller groups, down to one
            image, instead of being an error.
        first_pass: The pass of the first iteration.

    Returns:
        Finite `tf.data.Dataset` of `({"image": (G, N, H, W, C) float32 in [0, 255],
        "mask": (G, N) bool}, labels (G,) int32)`, of known cardinality. N is the
        largest size that was asked for; members come first, padding is 0.

    Raises:
        TypeError: If `images` or `degrade` is of another kind.
        ValueError: If a number is too small, there is no image, or a class has fewer
            images than its groups need.

    Example:

    ```python
    spoil = keras_distill.layers.RandomDegradation()
    pairs = groups(faces, size=5, groups_per_class=2, degrade=spoil)
    ```
    """
    _check_images(images)
    views = _views(degrade, seed)
    check_count("batch_size", batch_size)
    if not _is_whole(first_pass) or first_pass < 0:
        raise ValueError(
            "`first_pass` must be an integer and not negative. "
            f"Received: first_pass={first_pass}"
        )
    options = (size, groups_per_class, views.count, seed, ragged)
    plan = group_rows(images, *options, number=first_pass)
    passes = itertools.count(first_pass)
    return padded_groups(
        images,
        views,
        lambda: group_rows(images, *options, number=next(passes)),
        plan.rows.shape,
        batch_size,
    )


def group_rows(
    images, size, groups_per_class=1, views=1, seed=0, ragged=False, number=0
):
    """Which images, in which views, are in the groups of one pass of `groups`.

    For what is computed of single images once and pooled many times.

    Args:
        images: `ImageSet`.
        size: See `groups`.
        groups_per_class: See `groups`.
        views: The count of the `FixedViews` that degrade the images.
        seed: Integer.
        ragged: See `groups`.
        number: The pass.

    Returns:
        `GroupRows`, with a line a group.

    Raises:
        TypeError: If `images` is no `ImageSet`.
        ValueError: See `groups`.
    """
    _check_images(images)
    least, most = _sizes(size)
    for name, count in [("groups_per_class", groups_per_class), ("views", views)]:
        check_count(name, count)
    floor = 1 if ragged else least
    classes = np.unique(images.labels)
    rows = np.full((groups_per_class, len(classes), most), -1, np.int64)
    for place, label in enumerate(classes):
        members = np.flatnonzero(images.labels == label)
        if len(members) < floor * groups_per_class:
            raise ValueError(
                f"Groups of a class share no image: class {images.class_names[label]!r}"
                f" of {images.name!r} has {len(members)} of the "
                f"{floor * groups_per_class} images that its groups need. "
                f"Received: size={size}, groups_per_class={groups_per_class}, "
                f"ragged={ragged}"
            )
        order = np.argsort(split_mix(seed, 1, number, members))
        drawn = split_mix(seed, 2, number, label, np.arange(groups_per_class))
        sizes = least + (drawn % np.uint64(most - least + 1)).astype(np.int64)
        ends = np.cumsum(_cut(sizes, len(members)))
        parts = np.split(members[order[: ends[-1]]], ends[:-1])
        for group, part in enumerate(parts):
            rows[group, place, : len(part)] = part
    rows = rows.reshape(-1, most)
    shown = split_mix(seed, 3, number, rows) % np.uint64(views)
    shown = np.where(rows >= 0, shown.astype(np.int64), 0)
    labels = np.tile(classes, groups_per_class).astype(np.int32)
    return GroupRows(rows, shown, labels)


def padded_groups(images, views, plan, shape, batch_size):
    """A dataset of the groups that `plan` names, anew in each iteration.

    Args:
        images: `ImageSet`.
        views: `FixedViews`.
        plan: Function without arguments that returns `GroupRows`.
        shape: `(groups, N)`, the same in each iteration.
        batch_size: Groups in a batch.

    Returns:
        `tf.data.Dataset`, see `groups`.
    """
    count, width = shape

    def batches():
        rows, shown, labels = plan()
        for start in range(0, count, batch_size):
            part = slice(start, start + batch_size)
            mask = rows[part] >= 0
            # Only members are read and spoilt; padding is a blank image before them.
            places = np.where(mask, np.cumsum(mask).reshape(mask.shape), 0)
            yield rows[part][mask], shown[part][mask], places, labels[part]

    view = views.of(images)

    def fetch(rows, shown, places, labels):
        pixels = view(rows, shown)
        blank = tf.zeros((1, *images.image_shape), tf.float32)
        padded = tf.gather(tf.concat([blank, pixels], 0), places)
        return {"image": padded, "mask": places > 0}, labels

    members = tf.TensorSpec((None,), tf.int64)
    of_groups = tf.TensorSpec((None, width), tf.int64)
    labels = tf.TensorSpec((None,), tf.int32)
    dataset = tf.data.Dataset.from_generator(
        batches, output_signature=(members, members, of_groups, labels)
    ).apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    dataset = dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE)
    # A strategy must share out the rows of each batch, not shard what makes them.
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def check_count(name, count):
    """Raises ValueError unless a number that is called so counts something."""
    if not _is_whole(count) or count < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={count}"
        )


def _views(degrade, seed):
    if isinstance(degrade, FixedViews):
        return degrade
    if degrade is None:
        return FixedViews(None, count=1)
    try:
        return FixedViews(degrade, count=_ENDLESS, seed=seed)
    except TypeError as error:
        raise TypeError(
            "`degrade` must be FixedViews, or a Keras layer with `draws_per_image` "
            "such as layers.RandomDegradation, or a list of these. "
            f"Received: degrade={degrade!r}"
        ) from error


def _sizes(size):
    """`(least, most)` images of a group."""
    pair = size if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(map(_is_whole, pair)) or not 1 <= pair[0] <= pair[1]:
        raise ValueError(
            "`size` must be a positive integer, or (least, most) of them. "
            f"Received: size={size}"
        )
    return pair


def _cut(sizes, available):
    """Sizes of which the largest are made smaller until so many images suffice."""
    for _ in range(sizes.sum() - available):
        sizes[len(sizes) - 1 - np.argmax(sizes[::-1])] -= 1
    return sizes


def _check_images(images):
    if not isinstance(images, ImageSet):
        raise TypeError(f"`images` must be an ImageSet. Received: images={images!r}")
    if not len(images):
        raise ValueError(f"Groups need images. Received: images={images!r}")


def _is_whole(number):
    return isinstance(number, numbers.Integral) and not isinstance(number, bool)
