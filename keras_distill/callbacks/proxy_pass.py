"""One pass of a labelled data set through a frozen embedder, put in order by row."""

import typing

import numpy as np
import tensorflow as tf

from keras_distill.data.image_sums import are_alike, image_sums
from keras_distill.data.progress import progress
from keras_distill.models.embedder_and_scorer import refuse_other_embeddings

# Batches that are read again. Of pixels that are drawn anew, one image is enough to see
# it; more than one batch, for it may be a share of the images only.
_READ_AGAIN = 4


class ProxyPass:
    """Looks through data sets of `({"image", "row"}, labels)` with one embedder.

    Traces it once for images of one shape. It sees the weights as they are at each
    call, and calls it in inference mode.

    Args:
        embedder: A `keras.Model` from images to `(batch, dim)`.
    """

    def __init__(self, embedder):
        self._name = embedder.name

        def forward(images):
            features = embedder(images, training=False)
            refuse_other_embeddings(features, embedder.name)
            return tf.cast(features, tf.float32), image_sums(images)

        self._forward = tf.function(forward, autograph=False)

    def __call__(self, dataset, shown=False):
        """Embeds every row of a data set.

        Args:
            dataset: As `refuse_other_data` and `refuse_endless` let it pass.
            shown: Whether to show a progress bar.

        Returns:
            `Seen`.

        Raises:
            ValueError: If the rows are not 0 .. R - 1, each once; if an embedding is
                not finite or the embedder does not give one row an image; if there
                are no images.
        """
        spec = dataset.element_spec[0]["image"]
        unsized = tf.TensorSpec((None, *spec.shape[1:]), spec.dtype)
        forward = self._forward.get_concrete_function(unsized)
        parts, seen = [], set()
        total, batches = int(dataset.cardinality()), dataset
        if shown:
            batches = progress(dataset, total if total >= 0 else None, "Embedding")
        for inputs, labels, *_ in batches:
            features, sums = (part.numpy() for part in forward(inputs["image"]))
            rows, labels = inputs["row"].numpy(), labels.numpy()
            _refuse_repeated(rows, seen)
            if not len(rows) == len(labels) == len(features):
                raise ValueError(
                    "There must be one row, one label and one embedding an image. "
                    f"Received: {len(sums)} images, {len(features)} embeddings, "
                    f"rows.shape={rows.shape}, labels.shape={labels.shape}"
                )
            parts.append((rows, features, labels, sums))
        if not parts:
            raise ValueError(f"The data set has no images. Received: {dataset!r}")
        columns = zip(*parts, strict=True)
        rows, features, labels, sums = map(np.concatenate, columns)
        if rows.min() != 0 or rows.max() != len(rows) - 1:
            missing = np.setdiff1d(np.arange(len(rows)), rows)
            raise ValueError(
                "'row' numbers the images of a pass from 0, each once. Received: "
                f"{len(rows)} images, rows from {rows.min()} to {rows.max()}, without "
                f"{missing[0]}"
            )
        if not np.isfinite(features).all():
            raise ValueError(
                "The embedder must give finite numbers. Received: "
                f"embedder={self._name!r}, of {len(rows)} embeddings "
                f"{np.sum(~np.isfinite(features).all(axis=1))} are not"
            )
        order = np.argsort(rows)
        return Seen(features[order], labels[order], sums[order])


class Seen(typing.NamedTuple):
    """A data set as a pass has found it, entry r of row r.

    Attributes:
        features: float32 `(R, D)`, the embeddings.
        labels: Integers `(R,)`.
        sums: float32 `(R, 5)`, by which the pixels are known again.
    """

    features: np.ndarray
    labels: np.ndarray
    sums: np.ndarray


def refuse_other_data(**datasets):
    """Raises unless each is a data set of batches `({"image", "row"}, labels)`.

    Raises:
        TypeError: If one is no `tf.data.Dataset`.
        ValueError: If it yields something else.
    """
    for name, dataset in datasets.items():
        wanted = (
            f"`{name}` must be a tf.data.Dataset of batches ({{'image': (B, H, W, C), "
            "'row': (B,) integers}, labels (B,) integers), as data.proxy_views makes "
            "it."
        )
        if not isinstance(dataset, tf.data.Dataset):
            raise TypeError(
                f"{wanted} Received: {name} of type {type(dataset).__name__}"
            )
        spec = dataset.element_spec
        received = f"Received: {name}.element_spec={spec}"
        if not _has_the_parts(spec):
            raise ValueError(f"{wanted} {received}")
        image, row, labels = spec[0]["image"], spec[0]["row"], spec[1]
        if not (row.dtype.is_integer and labels.dtype.is_integer):
            raise ValueError(f"{wanted} Rows and labels are integers. {received}")
        if [part.shape.rank for part in (image, row, labels)] != [4, 1, 1]:
            raise ValueError(f"{wanted} {received}")
        if None in image.shape[1:]:
            raise ValueError(
                f"{wanted} Height, width and channels must be known beforehand. "
                f"{received}"
            )


def refuse_endless(**datasets):
    """Raises ValueError if a data set is known to have no end."""
    for name, dataset in datasets.items():
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                f"`{name}` must come to an end: targets are computed in one pass that "
                "shows each row once. To train with a data set that repeats, hand "
                "`fit` the one it repeats as well: "
                "callbacks=[DiscriminabilityTargets(proxy=...)], with validation=... "
                f"for validation data. Received: {name}={dataset!r}"
            )


def refuse_other_pixels(dataset, sums):
    """Raises ValueError if rows of a data set are other images than targets are of.

    Reads a few of its batches.

    Args:
        dataset: As `refuse_other_data` lets it pass.
        sums: float32 `(R, 5)`, of the pixels that the targets are of.
    """
    for inputs, *_ in dataset.take(_READ_AGAIN):
        rows, now = inputs["row"].numpy(), image_sums(inputs["image"]).numpy()
        unknown = (rows < 0) | (rows >= len(sums))
        if unknown.any():
            raise ValueError(
                f"Targets are known of rows 0..{len(sums) - 1}. Received: a batch with "
                f"row {rows[unknown][0]}"
            )
        other = ~are_alike(sums[rows], now)
        if other.any():
            raise ValueError(
                "A row must show the same pixels in every pass: its target is how "
                "discriminable these very pixels are. Augment with data.FixedViews, "
                "and nothing behind it. Received: other pixels for "
                f"{other.sum()} of {len(rows)} images, such as row {rows[other][0]}"
            )


def _has_the_parts(spec):
    if not isinstance(spec, tuple) or len(spec) not in (2, 3):
        return False
    inputs, labels = spec[:2]
    if not isinstance(inputs, dict) or not {"image", "row"} <= set(inputs):
        return False
    parts = (inputs["image"], inputs["row"], labels)
    return all(isinstance(part, tf.TensorSpec) for part in parts)


def _refuse_repeated(rows, seen):
    """Stops a pass that has no end, too, if it is not known to have none."""
    for row in rows.tolist():
        if row in seen:
            raise ValueError(
                "A pass must show each row once. Received: "
                f"row {row} twice within {len(seen) + 1} images"
            )
        seen.add(row)
