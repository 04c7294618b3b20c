"""Every view of every image once a pass, each with the number it is known by."""

import itertools

import numpy as np
import tensorflow as tf

from keras_distill.data.fixed_views import FixedViews
from keras_distill.data.groups import check_count
from keras_distill.data.image_set import ImageSet
from keras_distill.data.split_mix import split_mix


def proxy_views(images, views, batch_size=128, seed=0) -> tf.data.Dataset:
    """All views of all images, shuffled, for what is learned of single pixels.

    What was computed of one view, such as its discriminability, is found again by
    `row = view * len(images) + position of the image`: the same pixels bit for bit in
    every pass and on every machine of one kind, see `FixedViews`.

    Args:
        images: `ImageSet`.
        views: `FixedViews`; degraded ones belong here, so that what learns from them
            sees what it is judged on.
        batch_size: Images in a batch; the last one may have fewer.
        seed: Integer, of the order alone: the n-th iteration of the dataset comes in
            the n-th order of the seed, each another one.

    Returns:
        Finite `tf.data.Dataset` of `({"image": (B, H, W, C) float32 in [0, 255],
        "row": (B,) int64}, labels (B,) int32)`, of known cardinality.

    Raises:
        TypeError: If `images` or `views` is of another kind.
        ValueError: If `batch_size` is not a positive integer, or there is no image.

    Example:

    ```python
    spoil = keras_distill.layers.RandomDegradation()
    batches = proxy_views(images, FixedViews(spoil, count=8))
    ```
    """
    if not isinstance(images, ImageSet):
        raise TypeError(f"`images` must be an ImageSet. Received: images={images!r}")
    if not isinstance(views, FixedViews):
        raise TypeError(
            "`views` must be FixedViews: others are never seen again. "
            f"Received: views={views!r}"
        )
    check_count("batch_size", batch_size)
    if not len(images):
        raise ValueError(f"At least one image is needed. Received: images={images!r}")
    total = views.count * len(images)
    passes = itertools.count()

    def batches():
        order = np.argsort(split_mix(seed, next(passes), np.arange(total)))
        for start in range(0, total, batch_size):
            yield order[start : start + batch_size]

    view = views.of(images)
    with tf.device("CPU:0"):
        labels = tf.constant(images.labels)

    def fetch(rows):
        places = rows % len(images)
        shown = {"image": view(places, rows // len(images)), "row": rows}
        return shown, tf.gather(labels, places)

    dataset = tf.data.Dataset.from_generator(
        batches, output_signature=tf.TensorSpec((None,), tf.int64)
    ).apply(tf.data.experimental.assert_cardinality(-(-total // batch_size)))
    dataset = dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE)
    # A strategy must share out the rows of each batch, not shard what makes them.
    options = tf.data.Options()
    policy = tf.data.experimental.AutoShardPolicy.OFF
    options.experimental_distribute.auto_shard_policy = policy
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
