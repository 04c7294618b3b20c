"""Batches of images with their boxes, padded to one number.

One epoch is a function of the seed and its number alone, so that a resumed run gets
the batches it would have had.
"""

import itertools

import numpy as np
import tensorflow as tf

from keras_distill.data.split_mix import split_mix


def box_batches(boxes, batch_size, augment=None, seed=0, first_epoch=0, reshuffle=True):
    """A dataset of shuffled batches of a `BoxSet`, to train a detector with.

    Iterating once is one epoch of `N // batch_size` batches, in which no image comes
    twice; the n-th iteration (from 0) yields epoch `first_epoch + n` of `seed`, always
    the same. The last images of an epoch's order that fill no batch have their turn in
    another.

    Args:
        boxes: `BoxSet` of N images.
        batch_size: Integer in [1, N].
        augment: None, or a `layers.RandomBoxAffine`.
        seed: Integer.
        first_epoch: The epoch of the first iteration: that to resume at.
        reshuffle: Whether each iteration is the next epoch; otherwise all are
            `first_epoch`, as `callbacks.PrototypeRefresh` wants them.

    Returns:
        Finite `tf.data.Dataset`, prefetched, of known cardinality, of
        `(images, targets)`:

        * images: `(batch_size, H, W, 3)` float32 in [0, 255];
        * targets: a dictionary of `"boxes"` `(batch_size, M, 4)` float32, x1 y1 x2 y2
          in pixels; `"labels"` `(batch_size, M)` int32; `"mask"` `(batch_size, M)`
          bool.
          M is `boxes.most_boxes`. Where the mask is False there is no box: zeros and
          the label -1. Ignored boxes are not among them.

    Raises:
        ValueError: If `batch_size` or `first_epoch` is out of its range.

    Example:
        train, _ = load_boxes("../shared/data/bccd", (256, 320))
        batches = box_batches(train, 8, RandomBoxAffine())
    """
    if not 1 <= batch_size <= len(boxes):
        raise ValueError(
            f"`batch_size` must lie between 1 and the {len(boxes)} images of "
            f"{boxes.name!r}. Received: batch_size={batch_size}"
        )
    if first_epoch < 0:
        raise ValueError(
            f"`first_epoch` must not be negative. Received: first_epoch={first_epoch}"
        )
    steps = len(boxes) // batch_size
    epochs = itertools.count(first_epoch, int(reshuffle))

    def epoch():
        number = next(epochs)
        order = np.argsort(split_mix(seed, number, np.arange(len(boxes))))
        for step, rows in enumerate(np.split(order[: steps * batch_size], steps)):
            yield rows, [number, step]

    dataset = tf.data.Dataset.from_generator(
        epoch,
        output_signature=(
            tf.TensorSpec((batch_size,), tf.int64),
            tf.TensorSpec((2,), tf.int64),
        ),
    ).apply(tf.data.experimental.assert_cardinality(steps))
    with tf.device("CPU:0"):
        targets = {name: tf.constant(x) for name, x in boxes.padded().items()}
    key = tf.constant(int(split_mix(seed, 1)) >> 1, tf.int64)

    def fetch(rows, at):
        images = tf.cast(boxes.images.gather(rows), tf.float32)
        own = {name: tf.gather(x, rows) for name, x in targets.items()}
        if augment is None:
            return images, own
        draws = tf.random.stateless_uniform(
            (batch_size, augment.draws_per_image),
            tf.bitwise.bitwise_xor(at, key),
            minval=-1.0,
            maxval=1.0,
        )
        images, moved, mask = augment(
            images, own["boxes"], own["mask"], training=True, draws=draws
        )
        labels = tf.where(mask, own["labels"], -1)
        return images, {"boxes": moved, "labels": labels, "mask": mask}

    # A strategy must share out the rows of each batch, not shard what makes them.
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    dataset = dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
