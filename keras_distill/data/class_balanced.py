"""Batches of P classes with K images each: pairs to pull together in every batch.

One epoch is a function of the seed and its number alone, so that a resumed run gets
the batches it would have had. Order comes from hashes (SplitMix64) of seed, epoch and
row instead of a random generator: nothing has to be replayed.
"""

import itertools
import warnings

import numpy as np
import tensorflow as tf

from keras_distill.data.image_set import ImageSet


def class_balanced(
    images, classes, per_class, augment=None, seed=0, first_epoch=0
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
            are called one batch after another to keep their order.
        seed: Integer.
        first_epoch: The epoch of the first iteration: that to resume at.

    Returns:
        Finite `tf.data.Dataset` of `(images (P * K, H, W, C) float32 in [0, 255],
        labels (P * K,) int32)`, prefetched, of known cardinality.

    Raises:
        ValueError: If there are fewer than `classes` classes with images, or a
            number is too small.

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
    epochs = itertools.count(first_epoch)

    def epoch():
        number = next(epochs)
        for step, rows in enumerate(plan.epoch(number)):
            yield rows, [number, step]

    batch = classes * per_class
    dataset = tf.data.Dataset.from_generator(
        epoch,
        output_signature=(
            tf.TensorSpec((batch,), tf.int64),
            tf.TensorSpec((2,), tf.int64),
        ),
    ).apply(tf.data.experimental.assert_cardinality(plan.steps))
    with tf.device("CPU:0"):
        labels = tf.constant(images.labels)

    def fetch(rows, at):
        pixels = tf.cast(images.gather(rows), tf.float32)
        return pixels, tf.gather(labels, rows), at

    dataset = dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE)
    layers = augment if isinstance(augment, list | tuple) else [augment]
    for depth, layer in enumerate(layers):
        if layer is not None:
            dataset = _augmented(dataset, layer, int(_hash(seed, depth)))
    dataset = dataset.map(lambda pixels, labels, _: (pixels, labels))
    # A strategy must share out the rows of each batch, not shard what makes them.
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


class EpochPlan:
    """Which rows make up each batch of each epoch; the order behind `class_balanced`.

    Args:
        labels: `(N,)` integers; classes are the values that occur.
        classes: P, different classes in a batch.
        per_class: K, images of each.
        seed: Integer.

    Attributes:
        steps: Batches an epoch.
        class_count: Classes that occur.
        few: How many of them have fewer than K images.

    Raises:
        ValueError: As `class_balanced`.
    """

    def __init__(self, labels, classes, per_class, seed=0):
        labels = np.asarray(labels)
        for name, number in [("classes", classes), ("per_class", per_class)]:
            if number < 2:
                raise ValueError(
                    f"`{name}` must be at least 2: a batch needs pairs of one class "
                    f"and of two. Received: {name}={number}"
                )
        _, self._labels, sizes = np.unique(
            labels, return_inverse=True, return_counts=True
        )
        self.class_count = len(sizes)
        if self.class_count < classes:
            raise ValueError(
                "A batch cannot hold more classes than there are. "
                f"Received: classes={classes}, data with {self.class_count} classes"
            )
        self.few = int((sizes < per_class).sum())
        self.steps = max(1, len(labels) // (classes * per_class))
        self._classes, self._per_class, self._seed = classes, per_class, seed
        self._sizes = sizes
        self._starts = np.cumsum(sizes) - sizes
        # Epochs it takes to visit every class: 1, unless there are few batches.
        self._round = -(-self.class_count // (self.steps * classes))
        # A round shows `window` images of each class at least; so many rounds make
        # a pass through the class, in one shuffled order.
        self._window = max(1, self.steps * classes // self.class_count) * per_class
        self._pass = -(-sizes // self._window)

    def epoch(self, number):
        """int64 `(steps, P * K)`: rows of the data, one batch a line."""
        slots, visits = self._slots(number)
        turn = number // self._round
        order = self._shuffled(turn)
        # The window begins where that of the last round of this pass ended.
        begin = (turn % self._pass * self._window)[slots] + visits * self._per_class
        offset = begin[:, None] + np.arange(self._per_class)
        offset %= self._sizes[slots][:, None]
        rows = order[self._starts[slots][:, None] + offset]
        return rows.reshape(self.steps, -1).astype(np.int64)

    def _slots(self, number):
        """Classes in the order of their places, and how often each came before.

        Shuffled rounds through all classes. A round begins with classes that the
        batch in which it begins does not hold yet.
        """
        count, places = self.class_count, self.steps * self._classes
        if places < count:  # No epoch shows every class; several together do.
            turn, part = divmod(number, self._round)
            order = np.argsort(_hash(self._seed, 1, turn, np.arange(count)))
            place = part * places + np.arange(places)
            return order[place % count], place // count
        rounds = -(-places // count)
        slots = np.empty(0, np.int64)
        for turn in range(rounds):
            order = np.argsort(_hash(self._seed, 2, number, turn, np.arange(count)))
            begun = slots[len(slots) - len(slots) % self._classes :]
            if len(begun):
                missing = self._classes - len(begun)
                fresh = order[~np.isin(order, begun)]
                later = np.isin(order, fresh[:missing], invert=True)
                order = np.concatenate([fresh[:missing], order[later]])
            slots = np.concatenate([slots, order])
        return slots[:places], np.repeat(np.arange(rounds), count)[:places]

    def _shuffled(self, turn):
        """Rows of the data, class after class, each class in its shuffled order."""
        number = (turn // self._pass)[self._labels]
        key = _hash(self._seed, 3, number, np.arange(len(self._labels)))
        return np.lexsort((key, self._labels))


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
        with tf.device("CPU:0"):
            self._tensor = tf.constant(images)

    def gather(self, rows):
        return tf.gather(self._tensor, rows)


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


def _hash(*parts):
    """uint64 hash of integers or arrays of them, broadcast; SplitMix64 steps."""
    state = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in parts:
            state = state + np.asarray(part).astype(np.uint64)
            state = (state + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(2**64 - 1)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state
