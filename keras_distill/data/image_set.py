"""Labelled images, in memory or still in their files, behind one interface."""

import concurrent.futures
import functools
import hashlib
import io
import os

import numpy as np
import tensorflow as tf

from keras_distill.device import read_image


class ImageSet:
    """Images with class labels, of one size, in a fixed order.

    Args:
        images: uint8 array `(N, H, W, C)`; or a sequence of N files, each a path or
            the bytes of one, which are read by `keras_distill.device.read_image`
            whenever they are needed.
        labels: `(N,)` integers in [0, len(class_names)).
        class_names: C strings, all different. Defaults to the numbers.
        ids: N strings, all different, that name the images for good. Defaults to
            `name/0`, `name/1`, ...
        name: What the set is called. Defaults to `"images"`.
        image_shape: `(H, W, C)`; needed for files.
        skipped: Tuple of `(path, reason)`: files that could not be read.
        digests: uint8 `(N, 16)`, BLAKE2 of the pixels of each image, where they
            are known already.
        reader: Function of a file and `image_shape` that reads the pixels. Defaults to
            `keras_distill.device.read_image`, which stretches an image to the shape.
        synonyms: Dictionary from a class name to a list of other names for what the
            class shows, such as characters that look the same. Defaults to none.

    Attributes:
        labels, class_names, ids, name, image_shape, skipped: As above; `labels` is
            an int32 array, `class_names`, `ids` and `skipped` are tuples.
        synonyms: Dictionary from a class name to a tuple of names; classes without
            synonyms are left out.

    Raises:
        ValueError: If sizes do not agree, or names or ids repeat.
    """

    def __init__(
        self,
        images,
        labels,
        class_names=None,
        ids=None,
        name="images",
        image_shape=None,
        skipped=(),
        digests=None,
        reader=read_image,
        synonyms=None,
    ):
        self.name = name
        self._reader = reader
        self.labels = np.array(labels, dtype=np.int32)
        if class_names is None:
            count = int(self.labels.max(initial=-1)) + 1
            class_names = [str(label) for label in range(count)]
        if ids is None:
            ids = [f"{name}/{row}" for row in range(len(self.labels))]
        self.class_names = tuple(class_names)
        self.ids = tuple(ids)
        self.skipped = tuple(skipped)
        self.synonyms = {k: tuple(names) for k, names in (synonyms or {}).items()}
        if isinstance(images, np.ndarray):
            _check_array(images)
            self._files = None
            self._array = images
            self.image_shape = tuple(int(n) for n in images.shape[1:])
        else:
            if image_shape is None:
                raise ValueError(
                    "`image_shape` must be given for files. Received: image_shape=None"
                )
            self._files = tuple(images)
            self._array = None
            self.image_shape = tuple(int(n) for n in image_shape)
        self._digests = digests
        self._check()

    def __len__(self):
        return len(self.labels)

    def __repr__(self):
        place = "in memory" if self._files is None else "in files"
        return (
            f"<ImageSet {self.name!r}: {len(self)} images of shape "
            f"{self.image_shape} in {len(self.class_names)} classes, {place}>"
        )

    @property
    def in_memory(self):
        """Whether the pixels are held in memory, decoded."""
        return self._files is None

    def read(self, indices):
        """uint8 array `(len(indices), H, W, C)` of the images at `indices`."""
        if self._files is None:
            return self._array[np.asarray(indices, dtype=np.int64)]
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        for row, index in enumerate(indices):
            images[row] = self._reader(opened(self._files[index]), self.image_shape)
        return images

    def gather(self, indices):
        """`read` for tensors: what a `tf.data` map calls.

        Args:
            indices: int64 tensor `(B,)`.

        Returns:
            uint8 tensor `(B, H, W, C)`. Files are decoded outside Python's lock, so
            that several of these calls run at once.
        """
        if self._files is None:
            images = tf.gather(self._tensor, indices)
        else:
            images = tf.numpy_function(self.read, [indices], tf.uint8, stateful=False)
        images.set_shape((indices.shape[0], *self.image_shape))
        return images

    def batches(self, batch_size=256):
        """The set in order, as a finite dataset; the last batch may be smaller.

        Args:
            batch_size: Positive integer. Defaults to 256.

        Returns:
            `tf.data.Dataset` of `(images (b, H, W, C) uint8, labels (b,) int32)`.
        """
        dataset = tf.data.Dataset.range(len(self)).batch(batch_size)
        with tf.device("CPU:0"):
            labels = tf.constant(self.labels)
        return dataset.map(
            lambda rows: (self.gather(rows), tf.gather(labels, rows)),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).prefetch(tf.data.AUTOTUNE)

    def arrays(self):
        """`(images (N, H, W, C) uint8, labels (N,) int32)`; files are all decoded."""
        if self._files is None:
            return self._array, self.labels
        images = np.empty((len(self), *self.image_shape), np.uint8)

        def fill(row):
            images[row] = self._reader(opened(self._files[row]), self.image_shape)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(fill, range(len(self))):
                pass
        return images, self.labels

    def subset(self, indices):
        """The images at `indices`, in that order; labels and class names stay.

        Args:
            indices: Integers `(M,)`, or a boolean mask `(N,)`.

        Returns:
            An `ImageSet` in which some classes may have no image.
        """
        indices = np.arange(len(self))[np.asarray(indices)]
        if self._files is None:
            images = self._array[indices]
        else:
            images = [self._files[index] for index in indices]
        return ImageSet(
            images,
            self.labels[indices],
            self.class_names,
            [self.ids[index] for index in indices],
            self.name,
            self.image_shape,
            self.skipped,
            None if self._digests is None else self._digests[indices],
            self._reader,
            self.synonyms,
        )

    def take_classes(self, classes):
        """The images of some classes, which are numbered anew from 0.

        Args:
            classes: Class names; or a function that is given a class name and
                returns whether to take it.

        Returns:
            An `ImageSet`; its classes keep their order here.

        Raises:
            ValueError: If a name is unknown, or no class is taken.
        """
        if callable(classes):
            keep = [bool(classes(name)) for name in self.class_names]
        else:
            wanted = {classes} if isinstance(classes, str) else set(classes)
            unknown = sorted(wanted - set(self.class_names))
            if unknown:
                raise ValueError(
                    f"Every class must be one of the {len(self.class_names)} classes "
                    f"of {self.name!r}. Received: unknown classes={unknown[:5]}"
                )
            keep = [name in wanted for name in self.class_names]
        if not any(keep):
            raise ValueError(
                f"At least one class of {self.name!r} must be taken. "
                f"Received: classes={classes}"
            )
        taken = self.subset(np.asarray(keep)[self.labels])
        renumbered = np.cumsum(keep) - 1
        taken.labels = renumbered[taken.labels].astype(np.int32)
        taken.class_names = tuple(
            name for name, kept in zip(self.class_names, keep, strict=True) if kept
        )
        taken.synonyms = {
            name: self.synonyms[name]
            for name in taken.class_names
            if name in self.synonyms
        }
        return taken

    @property
    def digests(self):
        """uint8 `(N, 16)`: BLAKE2 of the pixels of each image, which are read."""
        if self._digests is None:
            images, _ = self.arrays()
            self._digests = np.stack([digest(image) for image in images])
        return self._digests

    def fingerprint(self):
        """Hexadecimal digest of shape, ids, class names, labels and pixels."""
        whole = hashlib.blake2b(digest_size=16)
        names = "\n".join([*map(str, self.image_shape), *self.class_names, *self.ids])
        whole.update(names.encode())
        whole.update(self.labels.astype("<i4").tobytes())
        whole.update(self.digests.tobytes())
        return whole.hexdigest()

    @functools.cached_property
    def _tensor(self):
        # On the host: a tensor on an accelerator would fill its memory.
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.constant(self._array)

    def _check(self):
        count = len(self._array if self._files is None else self._files)
        if self.labels.shape != (count,) or len(self.ids) != count:
            raise ValueError(
                "Images, labels and ids must be as many. Received: "
                f"{count} images, labels.shape={self.labels.shape}, {len(self.ids)} ids"
            )
        if len(set(self.ids)) != count:
            raise ValueError(f"Ids must all be different. Received: ids={self.ids[:5]}")
        if len(set(self.class_names)) != len(self.class_names):
            raise ValueError(
                "Class names must all be different. "
                f"Received: class_names={self.class_names[:5]}"
            )
        unknown = sorted({*self.synonyms} - {*self.class_names})
        if unknown:
            raise ValueError(
                "Synonyms must be those of classes. "
                f"Received: synonyms of {unknown[:5]}"
            )
        low = self.labels.min(initial=0)
        high = self.labels.max(initial=-1)
        if low < 0 or high >= len(self.class_names):
            raise ValueError(
                f"Labels must lie in [0, {len(self.class_names)}). "
                f"Received: labels from {low} to {high}"
            )


def opened(file):
    """What `read_image` takes, of a path or of the bytes of a file."""
    return io.BytesIO(file) if isinstance(file, bytes) else file


def digest(image):
    """uint8 `(16,)`: BLAKE2 of the pixels of one image."""
    pixels = np.ascontiguousarray(image)
    return np.frombuffer(hashlib.blake2b(pixels, digest_size=16).digest(), np.uint8)


def _check_array(images):
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            "Images must be a uint8 array (N, H, W, C) with 1 or 3 channels. "
            f"Received: images.shape={images.shape}, images.dtype={images.dtype}"
        )
