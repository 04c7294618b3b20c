"""Batches of P classes with K images each: pairs to pull together in every batch.

One epoch is a function of the seed and its number alone, so that a resumed run gets
the batches it would have had.
"""

import itertools
import warnings

import numpy as np
import tensorflow as tf

from keras_distill.data.epoch_plan import EpochPlan
from keras_distill.data.fixed_views import FixedViews, id_keys
from keras_distill.data.image_set import ImageSet
from keras_distill.data.split_mix import split_mix
from keras_distill.data.teacher_cache import TeacherCache


def class_balanced(
    images, classes, per_class, augment=None, seed=0, first_epoch=0, teacher=None
) -> tf.data.Dataset:
    """A dataset of batches that hold `classes` classes with `per_class` images each.

    Iterating once is one epoch of `max(1, N // (classes * per_class))` batches; the
    n-th iteration (from 0) yields epoch `first_epoch + n` of `seed`, always the same.
    Rows of a class lie together: rows `i * per_class` to `(i + 1) * per_class`.

    What an epoch covers, with V = steps * classes / C visits to each of C classes:
    the visits to two classes differ by at most one; v visits to a class of n images
    show `min(n, v * per_class)` different images, none twice more often than
    another; and classes too big for that go on where they stopped, so that every
    image is shown within `ceil(n / (floor(V) * per_class))` epochs, counted from
    epoch 0. (Where V < 1, an epoch cannot visit every class: all are visited once in
    `ceil(1 / V)` epochs, and read "one visit" for floor(V) and that many epochs for
    each.) With classes of one size this is all images but those that a whole
    number of batches and visits leaves over (97 % of Omniglot at 28 x 4). Balance
    has its price where sizes differ, as small classes are shown more than once: an
    epoch covers 74 % of the glyphs, two 93 %, five 99 %.

    (The benchmark that S2SD and OBD-SD are published on, Roth et al., ICML 2020, draws
    classes, and then images of a class, with replacement: its batches may hold a class
    more than once, and an image, and its epochs promise nothing.)

    Args:
        images: `ImageSet`, or `(images (N, H, W, C), labels (N,) integers)` arrays.
        classes: P, at least 2: different classes in a batch.
        per_class: K, at least 2: different images of each. Classes with fewer
            repeat them, evenly; a warning says how many classes do.
        augment: What is applied to each float32 batch, in parallel: a Keras layer
            such as `layers.RandomAffine`, called with `training=True`, or any
            function of a batch, or a list of these. A layer with an attribute
            `draws_per_image` is handed its random numbers, so that the result
            depends on the seed alone; others draw from their own generators and
            are called one batch after another to keep their order. Or a
            `FixedViews`: each image then comes in one of its views.
        seed: Integer.
        first_epoch: The epoch of the first iteration: that to resume at.
        teacher: A `TeacherCache` of these images, or of more, and of the views of
            `augment`, see `cache_embeddings`. The batches are the same as without.

    Returns:
        Finite `tf.data.Dataset` of `(images (P * K, H, W, C) float32 in [0, 255],
        labels (P * K,) int32)`, prefetched, of known cardinality. With `teacher`, the
        images are a dictionary: `"image"`, and `"teacher_embedding"` `(P * K, dim)`
        float32, as `Distiller` takes them.

    Raises:
        ValueError: If there are fewer than `classes` classes with images, or a
            number is too small; if the cache lacks an image, has other pixels under
            its id, or was made of other views.
        TypeError: If `teacher` is no `TeacherCache`, or `augment` or `images` are not
            what it could have been made of.

    Example:
        batches = class_balanced(train, classes=28, per_class=4)
        model.fit(batches, epochs=10)
    """
    images = _image_set(images)
    plan = EpochPlan(images.labels, classes, per_class, seed)
    if first_epoch < 0:
        raise ValueError(
            f"`first_epoch` must not be negative. Received: first_epoch={first_epoch}"
        )
    few = plan.few
    if few:
        warnings.warn(
            f"{few} of {plan.class_count} classes of {images.name!r} have fewer than "
            f"{per_class} images; these are repeated within a batch.",
            stacklevel=2,
        )
    if teacher is not None:
        augment = _cached_views(teacher, images, augment)
    fixed = isinstance(augment, FixedViews)
    keys = id_keys(images.ids) if fixed else None
    epochs = itertools.count(first_epoch)

    def epoch():
        number = next(epochs)
        rows = plan.epoch(number)
        views = augment.of_epoch(keys[rows], number, seed) if fixed else rows * 0
        for step in range(plan.steps):
            yield rows[step], views[step], [number, step]

    places = tf.TensorSpec((classes * per_class,), tf.int64)
    dataset = tf.data.Dataset.from_generator(
        epoch, output_signature=(places, places, tf.TensorSpec((2,), tf.int64))
    ).apply(tf.data.experimental.assert_cardinality(plan.steps))
    if fixed:
        dataset = _fixed_batches(dataset, images, augment, teacher)
    else:
        dataset = _drawn_batches(dataset, images, augment, seed)
    # A strategy must share out the rows of each batch, not shard what makes them.
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _image_set(images):
    if isinstance(images, ImageSet):
        return images
    pixels, labels = (np.asarray(part) for part in images)
    return _Arrays(pixels, labels)


class _Arrays:
    """Arrays of any dtype and any labels, as far as batches need an `ImageSet`."""

    name = "images"

    def __init__(self, images, labels):
        if images.ndim != 4 or labels.shape != images.shape[:1]:
            raise ValueError(
                "Images (N, H, W, C) and labels (N,) are expected. Received: "
                f"images.shape={images.shape}, labels.shape={labels.shape}"
            )
        self.labels = labels.astype(np.int32)
        self.ids = [f"{self.name}/{row}" for row in range(len(labels))]
        with tf.device("CPU:0"):
            self._tensor = tf.constant(images)

    def gather(self, rows):
        return tf.gather(self._tensor, rows)


def _cached_views(teacher, images, augment):
    """The views that cache and batches share."""
    if not isinstance(teacher, TeacherCache):
        raise TypeError(
            "`teacher` is a cache, see `cache_embeddings`; a teacher that is asked in "
            f"every step belongs to `Distiller(teacher=...)`. Received: {teacher=}"
        )
    if not isinstance(images, ImageSet):
        raise TypeError(
            "A cache knows images by the ids of an ImageSet: make one of the arrays. "
            "Received: images as arrays"
        )
    views = FixedViews(None, count=1) if augment is None else augment
    if not isinstance(views, FixedViews):
        raise TypeError(
            "Cached embeddings are those of fixed views: `augment` must be the "
            f"FixedViews that the cache was made with. Received: {augment=}"
        )
    teacher.refuse_other_views(views)
    return views


def _fixed_batches(dataset, images, views, teacher):
    """Images in their views, with what a cache says of them."""
    view = views.of(images)
    with tf.device("CPU:0"):
        labels = tf.constant(images.labels)
        places = None if teacher is None else tf.constant(teacher.rows(images))

    def fetch(rows, shown, _):
        inputs = view(rows, shown)
        if teacher is not None:
            said = teacher.gather(tf.gather(places, rows), shown)
            inputs = {"image": inputs, "teacher_embedding": said}
        return inputs, tf.gather(labels, rows)

    return dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE)


def _drawn_batches(dataset, images, augment, seed):
    """Images augmented anew in every batch."""
    with tf.device("CPU:0"):
        labels = tf.constant(images.labels)

    def fetch(rows, _, at):
        pixels = tf.cast(images.gather(rows), tf.float32)
        return pixels, tf.gather(labels, rows), at

    dataset = dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE)
    layers = augment if isinstance(augment, list | tuple) else [augment]
    for depth, layer in enumerate(layers):
        if isinstance(layer, FixedViews):
            raise TypeError(
                "FixedViews stand alone: hand their list of layers to them. "
                f"Received: augment={augment}"
            )
        if layer is not None:
            dataset = _augmented(dataset, layer, int(split_mix(seed, depth)))
    return dataset.map(lambda pixels, labels, _: (pixels, labels))


def _augmented(dataset, layer, seed):
    """Applies one augmentation to the images of `(images, labels, at)`."""
    draws = getattr(layer, "draws_per_image", None)
    takes_training = hasattr(layer, "get_config")  # a Keras layer or model

    def apply(pixels, labels, at):
        if draws is not None:
            # Places of batches are far below 2**31, mixed with the seed they differ.
            key = tf.bitwise.bitwise_xor(at, tf.constant(seed >> 1, tf.int64))
            numbers = tf.random.stateless_uniform(
                (pixels.shape[0], draws), key, minval=-1.0, maxval=1.0
            )
            pixels = layer(pixels, training=True, draws=numbers)
        elif takes_training:
            pixels = layer(pixels, training=True)
        else:
            pixels = layer(pixels)
        return tf.cast(pixels, tf.float32), labels, at

    parallel = tf.data.AUTOTUNE if draws is not None else None
    return dataset.map(apply, num_parallel_calls=parallel)
