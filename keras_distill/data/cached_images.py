"""The images of a cache in its order: of a set with its views, or of a dataset."""

import numpy as np
import tensorflow as tf

from keras_distill.data.image_set import ImageSet
from keras_distill.data.image_sums import are_alike, image_sums
from keras_distill.data.progress import progress
from keras_distill.data.teacher_cache import parts

_PROBE = 8  # images


def cached_images(images, views, batch_size):
    """What `cache_embeddings` goes through.

    Args:
        images: `ImageSet`, or a finite `tf.data.Dataset`.
        views: `FixedViews`.
        batch_size: Positive integer, for a set.

    Returns:
        An object with `spec` (of a batch for the teacher), `leading` (`(views, N)`),
        `keyed_by`, `image_shape`, `keys()` (arrays that name the images for good),
        `changes(keys)` (in words, of other such arrays), `batches(first)` (from that
        row on, view after view) and `probe(finished)` (some rows before that one, and
        their images).
    """
    if isinstance(images, ImageSet):
        return _SetImages(images, views, batch_size)
    if isinstance(images, tf.data.Dataset):
        if views.count != 1 or views.get_config()["augment"]:
            raise ValueError(
                "`views` are made of an ImageSet; a tf.data.Dataset brings its images "
                f"as they are to be embedded. Received: {views=}"
            )
        return _DatasetImages(images)
    raise TypeError(
        "Images come as an ImageSet or as a tf.data.Dataset of batches. "
        f"Received: {images!r:.200}"
    )


class _SetImages:
    """The views of an `ImageSet`."""

    keyed_by = "id"

    def __init__(self, images, views, batch_size):
        if not len(images):
            raise ValueError(f"There are no images to embed. Received: {images!r}")
        self._images, self._batch_size = images, batch_size
        self._view = views.of(images)
        self.leading = (views.count, len(images))
        self.image_shape = images.image_shape
        # As `class_balanced` has them: the cache must hold what a live teacher says.
        self.spec = tf.TensorSpec((None, *images.image_shape), tf.float32)

    def keys(self):
        return {"ids": np.array(self._images.ids), "digests": self._images.digests}

    def changes(self, keys):
        if tuple(keys["ids"].tolist()) != self._images.ids:
            return ["the ids of the images or their order"]
        other = (keys["digests"] != self._images.digests).any(axis=1)
        return [f"the pixels of {other.sum()} images"] if other.any() else []

    def batches(self, first):
        count, size = self.leading[1], self._batch_size
        # Parts of one view each, as the array lies on the disk.
        begins = [
            (view, begin)
            for view in range(self.leading[0])
            for begin in range(max(0, first - view * count), count, size)
        ]

        def fetch(place):
            view, begin = place[0], place[1]
            rows = tf.range(begin, tf.minimum(begin + size, count))
            return self._view(rows, tf.fill(tf.shape(rows), view))

        places = np.array(begins, np.int64).reshape(-1, 2)
        dataset = tf.data.Dataset.from_tensor_slices(places)
        dataset = dataset.map(fetch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)
        return progress(dataset, len(begins), "embedding")

    def probe(self, finished):
        places = np.unique(np.linspace(0, finished - 1, _PROBE).astype(np.int64))
        views, rows = np.divmod(places, self.leading[1])
        return places, self._view(tf.constant(rows), tf.constant(views))


class _DatasetImages:
    """The images of a dataset, known by their place and by `image_sums`."""

    keyed_by = "position"

    def __init__(self, dataset):
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "The dataset must come to an end: cache before `repeat`. "
                f"Received: {dataset!r}"
            )
        images, _, _ = parts(dataset.element_spec)
        self._dataset = dataset.map(lambda *element: parts(_one(element))[0])
        self.image_shape = tuple(images.shape[1:])
        self.spec = tf.TensorSpec((None, *self.image_shape), images.dtype)
        sums = self._dataset.map(image_sums, num_parallel_calls=tf.data.AUTOTUNE)
        total = int(dataset.cardinality())
        sums = progress(sums, total if total >= 0 else None, "looking at the images")
        sums = [part.numpy() for part in sums]
        if not sum(map(len, sums)):
            raise ValueError(f"There are no images to embed. Received: {dataset!r}")
        self._batches = len(sums)
        self._sums = np.concatenate(sums)
        self.leading = (1, len(self._sums))

    def keys(self):
        return {"sums": self._sums}

    def changes(self, keys):
        known = keys["sums"]
        if len(known) != len(self._sums):
            return [f"the number of images, which was {len(known)}"]
        other = ~are_alike(known, self._sums)
        return [f"{other.sum()} images, or their order"] if other.any() else []

    def batches(self, first):
        def rest():
            position = 0
            for images in progress(self._dataset, self._batches, "embedding"):
                new = images[max(0, first - position) :]
                position += len(images)
                if not len(new):
                    continue
                known = self._sums[position - len(new) : position]
                sums = image_sums(new).numpy()
                if len(known) < len(sums) or not are_alike(known, sums).all():
                    raise ValueError(
                        "The dataset must yield the same images whenever it is gone "
                        "through: it shuffles, or augments anew. Received: other "
                        f"images at {position - len(new)} than a moment ago"
                    )
                yield new

        return rest()

    def probe(self, finished):
        images = next(iter(self._dataset))[: min(_PROBE, finished)]
        return np.arange(len(images)), images


def _one(element):
    """What a map hands over in parts, in one."""
    return element if len(element) > 1 else element[0]
