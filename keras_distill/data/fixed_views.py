"""A few augmentations of each image that stay the same for good."""

import hashlib

import keras
import numpy as np
import tensorflow as tf

from keras_distill.data.split_mix import split_mix

# Vectorised arithmetic takes other code for what a batch leaves over, and differs in
# the last bit. Sixteen float32 numbers are the widest vector there is (AVX-512).
_VECTOR = 16


class FixedViews:
    """`count` fixed augmentations of each image, for `class_balanced` and caches.

    View v of an image is always the same pixels, whatever batch, subset or order it
    comes in (bit for bit, in pipelines on one machine): the numbers that the layers
    would draw by chance are a hash of `seed`, v and the id of the image. What a teacher
    says of the views can so be computed once, see `cache_embeddings`.

    Args:
        augment: A Keras layer with an attribute `draws_per_image`, such as
            `layers.RandomAffine`, or a list of them, applied in order; or `None`, for
            the one view that is the image itself.
        count: Views of each image, at least 1.
        seed: Integer.

    Raises:
        TypeError: If a layer has no `draws_per_image`: it would draw from a generator
            of its own, and nothing could be said of what comes next.
        ValueError: If `count` is not a positive integer, or more than 1 without
            `augment`.

    Example:

    ```python
    views = FixedViews(keras_distill.layers.RandomAffine(), count=8)
    batches = class_balanced(train, classes=28, per_class=4, augment=views)
    ```
    """

    def __init__(self, augment, count=8, seed=0):
        layers = augment if isinstance(augment, list | tuple) else [augment]
        self._layers = [layer for layer in layers if layer is not None]
        for layer in self._layers:
            draws = getattr(layer, "draws_per_image", None)
            if draws is None or not isinstance(layer, keras.layers.Layer):
                raise TypeError(
                    "Fixed views need Keras layers with `draws_per_image`, which are "
                    "handed their random numbers, such as layers.RandomAffine; others "
                    "draw from their own generators and make every view anew. "
                    f"Received: augment={layer!r}"
                )
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(
                f"`count` must be a positive integer. Received: count={count}"
            )
        if count > 1 and not self._layers:
            raise ValueError(
                "Without `augment` all views of an image are the same: use count=1. "
                f"Received: augment={augment}, count={count}"
            )
        self.count = count
        self.seed = seed

    def __repr__(self):
        names = [type(layer).__name__ for layer in self._layers]
        return f"<FixedViews {names}, count={self.count}, seed={self.seed}>"

    def of(self, images):
        """The views of an image set, as a function for `tf.data.Dataset.map`.

        Args:
            images: `ImageSet`.

        Returns:
            A function of int64 tensors `rows (B,)` and `views (B,)` in [0, count) that
            returns float32 `(B, H, W, C)`.
        """
        keys = id_keys(images.ids)

        def view(rows, views):
            pixels = tf.cast(images.gather(rows), tf.float32)
            if not self._layers:
                return pixels
            draws = tf.numpy_function(
                lambda rows, views: self.draws(keys[rows], views),
                [rows, views],
                tf.float32,
                stateful=False,
            )
            draws.set_shape((pixels.shape[0], self._width))
            return self._augmented(pixels, draws)

        return view

    def draws(self, keys, views):
        """The random numbers behind views, uniform in [-1, 1).

        Args:
            keys: uint64 `(B,)`, see `id_keys`.
            views: Integers `(B,)`.

        Returns:
            float32 `(B, draws)`, the numbers of all layers side by side.
        """
        columns = np.arange(self._width)
        bits = split_mix(self.seed, views[:, None], keys[:, None], columns)
        # 24 bits are what a float32 holds: no two of these round to one number.
        return ((bits >> np.uint64(40)) / 2.0**23 - 1).astype(np.float32)

    def of_epoch(self, keys, number, seed):
        """Which view each place of an epoch shows, all of them evenly.

        An image goes through its views in a shuffled order, one an epoch, which is
        shuffled anew every `count` epochs. Where an epoch shows it k times, these are
        k different views, as long as there are so many.

        Args:
            keys: uint64 array of any shape, the images in the order of the epoch.
            number: The epoch.
            seed: Integer, of the order; the views themselves depend on `self.seed`.

        Returns:
            int64 in [0, count), of the shape of `keys`.
        """
        turn, step = divmod(number, self.count)
        flat = keys.reshape(-1)
        order = split_mix(seed, 4, turn, flat[:, None], np.arange(self.count))
        place = (step + _times_before(flat)) % self.count
        chosen = np.argsort(order, axis=1)[np.arange(len(flat)), place]
        return chosen.reshape(keys.shape)

    def get_config(self):
        """What the views depend on, for JSON."""
        return {
            "augment": [_config(layer) for layer in self._layers],
            "count": self.count,
            "seed": self.seed if self._layers else 0,
        }

    @property
    def _width(self):
        return sum(layer.draws_per_image for layer in self._layers)

    def _augmented(self, images, draws):
        count = tf.shape(images)[0]
        missing = -count % _VECTOR
        images, draws = _lengthened(images, missing), _lengthened(draws, missing)
        sizes = [layer.draws_per_image for layer in self._layers]
        parts = tf.split(draws, sizes, axis=1)
        for layer, part in zip(self._layers, parts, strict=True):
            images = layer(images, training=True, draws=part)
        return tf.cast(images[:count], tf.float32)


def id_keys(ids):
    """uint64 `(N,)`: 8 bytes of BLAKE2 of each id, which stand for it in hashes."""
    digests = [hashlib.blake2b(id.encode(), digest_size=8).digest() for id in ids]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _lengthened(rows, missing):
    return tf.concat([rows, tf.repeat(rows[-1:], missing, axis=0)], axis=0)


def _times_before(keys):
    """`(N,)`: how often each value came before its place."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered)
    times = np.empty(len(keys), np.int64)
    times[order] = np.arange(len(keys)) - first
    return times


def _config(layer):
    """A layer's configuration without what its pixels do not depend on."""
    config = {**layer.get_config()}
    # Keras numbers names; `draws` take the place of the layer's own seed.
    for name in ("name", "seed", "trainable"):
        config.pop(name, None)
    return {"class": type(layer).__name__, **config}
