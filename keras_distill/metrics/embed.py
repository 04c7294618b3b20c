"""Images to embeddings, in inference mode and in order."""

import numpy as np


def embed(model, images, batch_size: int = 256):
    """Embeds a data set.

    Training goes on undisturbed: no statistic is updated and no random state
    drawn from. To embed again and again with one model, keep an `Embedder`.

    Args:
        model: A model from images `(B, H, W, C)` to `(B, D)`, or a `Distiller`,
            whose `student` is taken.
        images: An `ImageSet`, a finite `tf.data.Dataset` of batches `(images,
            labels)`, or a pair of arrays `(images (N, H, W, C), labels (N,))`.
        batch_size: Images a step; a `tf.data.Dataset` keeps its own batches.

    Returns:
        Embeddings `(N, D)` float32 and labels `(N,)`, numpy arrays.

    Raises:
        TypeError: If `images` is none of these.
        ValueError: If there are no images, the lengths of a pair differ, or an
            output is not of shape `(B, D)`.
    """
    return Embedder(model)(images, batch_size)


class Embedder:
    """`embed` that traces its model once.

    It sees the weights as they are at each call.

    Args:
        model: See `embed`.
    """

    def __init__(self, model):
        import tensorflow as tf

        student = getattr(model, "student", model)

        # Not `predict_on_batch`: that runs the batch once on each replica under a
        # distribution strategy, and under XLA once more for the last batch.
        @tf.function(reduce_retracing=True)
        def forward(batch):
            return student(tf.cast(batch, tf.float32), training=False)

        self._forward = forward

    def __call__(self, images, batch_size: int = 256):
        """Embeds `images`, see `embed`."""
        embeddings, labels = [], []
        full = 0
        for some_images, some_labels in _batches(images, batch_size):
            some_images = np.asarray(some_images)
            count = len(some_images)
            full = max(full, count)
            if count < full:
                # One shape, one trace; rows do not touch each other in inference.
                padding = [(0, full - count)] + [(0, 0)] * (some_images.ndim - 1)
                some_images = np.pad(some_images, padding, mode="edge")
            output = self._forward(some_images)
            shape = getattr(output, "shape", None)
            if shape is None or len(shape) != 2 or shape[0] != full:
                raise ValueError(
                    "The model must give one embedding an image, of shape "
                    f"({full}, dim). Received: output="
                    f"{type(output).__name__} of shape {shape}"
                )
            embeddings.append(np.asarray(output[:count], np.float32))
            labels.append(np.asarray(some_labels).reshape(count))
        if not embeddings:
            raise ValueError(f"There are no images to embed. Received: {images=}")
        return np.concatenate(embeddings), np.concatenate(labels)


def _batches(images, batch_size):
    if hasattr(images, "batches"):
        return images.batches(batch_size)
    if hasattr(images, "element_spec"):
        return images
    if isinstance(images, (tuple, list)) and len(images) == 2:
        return _sliced(*map(np.asarray, images), batch_size)
    raise TypeError(
        "Images come as an ImageSet, a tf.data.Dataset of (images, labels) batches "
        f"or a pair of arrays (images, labels). Received: {type(images).__name__}"
    )


def _sliced(images, labels, batch_size):
    if len(images) != len(labels):
        raise ValueError(
            "Images and labels must have the same length. Received: "
            f"images.shape={images.shape}, labels.shape={labels.shape}"
        )
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], labels[start : start + batch_size]
