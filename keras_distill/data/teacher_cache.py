"""What a teacher said of each image, read from disk while a student trains."""

import pathlib

import numpy as np
import tensorflow as tf

from keras_distill.data import cache_folder
from keras_distill.data.image_sums import are_alike, image_sums


class TeacherCache:
    """A finished cache of `cache_embeddings`, opened for training.

    Opening reads no embedding: the array is mapped into memory, and a batch reads its
    own rows. No teacher is needed, and whether the teacher is still the same is not
    looked at: `cache_embeddings` does that.

    Args:
        folder: The folder of the cache.

    Attributes:
        folder: `pathlib.Path`.
        dim: Width of an embedding.
        views: Number of views of each image.
        ids: Tuple of the N ids, in the order of the cache; None of a cache that was
            made of a `tf.data.Dataset`, which goes by position.
        embeddings: float32 `(views, N, dim)`, a `numpy.memmap` that cannot be written.

    Raises:
        FileNotFoundError: If there is no cache.
        ValueError: If the cache is unfinished or broken.

    Example:

    ```python
    cache = cache_embeddings(teacher, train, "runs/teacher", views=views)
    batches = class_balanced(train, 28, 4, augment=views, teacher=cache)
    ```
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        manifest = cache_folder.read_manifest(self.folder)
        if manifest is None:
            raise FileNotFoundError(
                "There must be a cache, made by `cache_embeddings`. "
                f"Received: folder={self.folder}"
            )
        if not manifest["finished"]:
            raise ValueError(
                "The cache is not finished: call `cache_embeddings` again as before, "
                f"it goes on where it stopped. Received: folder={self.folder}"
            )
        self.made_of = manifest["made_of"]
        keys = cache_folder.read_keys(self.folder)
        self.ids = tuple(keys["ids"].tolist()) if "ids" in keys else None
        self._digests, self._sums = keys.get("digests"), keys.get("sums")
        count = len(next(iter(keys.values())))
        try:
            path = self.folder / cache_folder.ARRAY
            self.embeddings = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise cache_folder.broken(self.folder, cache_folder.ARRAY) from error
        if self.embeddings.shape[:-1] != (self.made_of["count"], count):
            raise cache_folder.broken(self.folder, cache_folder.ARRAY)
        self.views, _, self.dim = self.embeddings.shape

    def __repr__(self):
        views, count, dim = self.embeddings.shape
        return (
            f"<TeacherCache {str(self.folder)!r}: {count} images x {views} views, "
            f"{dim} dimensions>"
        )

    def lookup(self, rows, views):
        """The embeddings of views of images.

        Args:
            rows: Integers `(B,)`, places in the cache, see `rows`.
            views: Integers `(B,)` in [0, self.views), or one for all.

        Returns:
            float32 `(B, dim)`, a copy in memory.
        """
        return np.array(self.embeddings[views, rows])

    def gather(self, rows, views):
        """`lookup` for tensors: what a `tf.data` map calls.

        Args:
            rows: int64 tensor `(B,)`.
            views: int64 tensor `(B,)`.

        Returns:
            float32 tensor `(B, dim)`.
        """
        found = tf.numpy_function(
            self.lookup, [rows, views], tf.float32, stateful=False
        )
        found.set_shape((rows.shape[0], self.dim))
        return found

    def rows(self, images):
        """Where the images of a set are in the cache.

        Args:
            images: `ImageSet`: the one the cache was made of or any part of it, in any
                order and with any labels.

        Returns:
            int64 `(len(images),)`.

        Raises:
            ValueError: If the cache goes by position, or lacks an image, or holds
                another image under its id; some of the ids are named.
        """
        if self.ids is None:
            raise ValueError(
                "The cache was made of a tf.data.Dataset and goes by position: use "
                f"`cache.attach(dataset)`. Received: folder={self.folder}"
            )
        shape = list(images.image_shape)
        if shape != self.made_of["image_shape"]:
            raise ValueError(
                "The cache holds images of another size. Received: "
                f"image_shape={shape}, cache of {self.made_of['image_shape']}"
            )
        places = {id: row for row, id in enumerate(self.ids)}
        missing = [id for id in images.ids if id not in places]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(images)} images of {images.name!r} are not in "
                f"the cache. Received: folder={self.folder}, ids={missing[:5]}"
            )
        rows = np.array([places[id] for id in images.ids], np.int64)
        other = (images.digests != self._digests[rows]).any(axis=1)
        if other.any():
            names = [images.ids[row] for row in np.flatnonzero(other)[:5]]
            raise ValueError(
                f"{other.sum()} of {len(images)} images of {images.name!r} have other "
                "pixels than those that the cache was made of. "
                f"Received: folder={self.folder}, ids={names}"
            )
        return rows

    def refuse_other_views(self, views):
        """Raises ValueError unless the cache was made of these `FixedViews`."""
        changed = cache_folder.changes(self.made_of, views.get_config())
        if changed:
            raise ValueError(
                f"The cache was made of other views: {', '.join(changed)} changed. "
                f"Received: {views=}, folder={self.folder}"
            )

    def attach(self, dataset):
        """Adds `"teacher_embedding"` to the inputs of a dataset.

        The dataset must yield the images that the cache was made of, in their order;
        its batches may be of another size. That each image is the one that was
        embedded is checked as it goes by (`image_sums`), and an image that is not ends
        the iteration with an error. Shuffle, batch and repeat after this.

        Args:
            dataset: `tf.data.Dataset` of batches: `images`, `(images, labels)`, or
                `(inputs, labels)` with a dictionary of inputs, as for
                `cache_embeddings`; `labels` may be followed by sample weights.

        Returns:
            `tf.data.Dataset` of the same elements, with a dictionary of inputs:
            `"image"`, `"teacher_embedding"` `(B, dim)` float32 and what was there.

        Raises:
            ValueError: If the cache was made of an `ImageSet`, or images are not of
                its size, or there is a `"teacher_embedding"` already.
            tf.errors.InvalidArgumentError: While iterating, at the first image that is
                not the one at its place.

        Example:

        ```python
        cache = cache_embeddings(teacher, dataset, "runs/teacher")
        batches = cache.attach(dataset).unbatch().shuffle(10_000).batch(128)
        ```
        """
        if self._sums is None:
            raise ValueError(
                "The cache was made of an ImageSet and goes by ids: use "
                "`class_balanced(images, ..., teacher=cache)`. "
                f"Received: folder={self.folder}"
            )
        images, _, _ = parts(dataset.element_spec)
        shape = list(images.shape[1:])
        if shape != self.made_of["image_shape"]:
            raise ValueError(
                "The cache holds images of another size. Received: "
                f"image_shape={shape}, cache of {self.made_of['image_shape']}"
            )
        if "teacher_embedding" in parts(dataset.element_spec)[1]:
            raise ValueError(
                "The dataset brings a 'teacher_embedding' already. "
                f"Received: element_spec={dataset.element_spec}"
            )

        def count(position, element):
            images, _, _ = parts(element)
            size = tf.shape(images, out_type=tf.int64)[0]
            return position + size, (position, element)

        def add(position, element):
            images, inputs, rest = parts(element)
            said = tf.numpy_function(
                self._checked, [position, image_sums(images)], tf.float32
            )
            said.set_shape((images.shape[0], self.dim))
            inputs = {**inputs, "teacher_embedding": said}
            return (inputs, *rest) if rest else inputs

        counted = dataset.scan(tf.constant(0, tf.int64), count)
        added = counted.map(add, num_parallel_calls=tf.data.AUTOTUNE)
        return added.prefetch(tf.data.AUTOTUNE)

    def _checked(self, position, sums):
        """Embeddings of the images from a position on, if these are the images."""
        known = self._sums[position : position + len(sums)]
        if len(known) < len(sums):
            raise ValueError(
                f"The dataset has more images than the {len(self._sums)} of the cache: "
                "repeat and add after `attach`, not before."
            )
        other = np.flatnonzero(~are_alike(known, sums))
        if len(other):
            raise ValueError(
                f"Image {position + other[0]} of the dataset is not the one that was "
                f"embedded into {self.folder}: attach before shuffling, and to images "
                "that are the same in every epoch."
            )
        return np.array(self.embeddings[0, position : position + len(sums)])


def parts(element):
    """What a dataset's element, or its spec, is made of.

    Args:
        element: Images, a dictionary of inputs, or a tuple of either and the rest.

    Returns:
        The images that the teacher sees (`"teacher_image"` where there is one), the
        dictionary of inputs, and a tuple of the rest.

    Raises:
        TypeError: If it is none of these.
    """
    first, *rest = element if isinstance(element, tuple) else (element,)
    inputs = first if isinstance(first, dict) else {"image": first}
    images = inputs.get("teacher_image", inputs.get("image"))
    if getattr(images, "shape", None) is None or len(images.shape) != 4:
        raise TypeError(
            "The dataset must yield batches of images (B, H, W, C), alone or as the "
            "first of (images, labels), or as 'image' in a dictionary of inputs. "
            f"Received: {element}"
        )
    if None in images.shape[1:]:
        raise ValueError(
            "Height, width and channels of the images must be known: see "
            f"`tf.ensure_shape`. Received: images.shape={images.shape}"
        )
    return images, inputs, tuple(rest)
