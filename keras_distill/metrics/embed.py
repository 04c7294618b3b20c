"""Images to embeddings, in inference mode and in order."""

import numpy as np

from keras_distill.metrics.ranking import checked_labels


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
        ValueError: If there are no images or no end of them, if images and labels
            differ in number, or an output is not of shape `(B, D)`.
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
        # distribution strategy, and compiles once more for the last batch.
        @tf.function(reduce_retracing=True, autograph=False)
        def forward(batch):
            output = student(tf.cast(batch, tf.float32), training=False)
            if not tf.is_tensor(output) or output.shape.rank != 2:
                raise ValueError(
                    "The model must give one embedding an image, of shape (batch, "
                    f"dim). Received: output={output}"
                )
            return tf.cast(output, tf.float32)

        self._forward = forward

    def __call__(self, images, batch_size: int = 256):
        """Embeds `images`, see `embed`."""
        embeddings, labels = [], []
        full = 0
        for some_images, some_labels in _batches(images, batch_size):
            some_images = np.asarray(some_images)
            some_labels = checked_labels(some_labels, "labels")
            count = len(some_images)
            full = max(full, count)
            if count < full:
                # One shape, one trace; rows do not touch each other in inference.
                padding = [(0, full - count)] + [(0, 0)] * (some_images.ndim - 1)
                some_images = np.pad(some_images, padding, mode="edge")
            output = self._forward(some_images).numpy()
            if not len(output) == full or count != len(some_labels):
                raise ValueError(
                    "There must be one embedding and one label an image. Received: "
                    f"{full} images, {len(output)} embeddings, "
                    f"{len(some_labels)} labels for {count}"
                )
            embeddings.append(output[:count])
            labels.append(some_labels)
        if not embeddings:
            raise ValueError(f"There are no images to embed. Received: {images!r}")
        return np.concatenate(embeddings), np.concatenate(labels)


def _batches(images, batch_size):
    if isinstance(batch_size, bool) or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be a positive integer. Received: {batch_size=}"
        )
    if hasattr(images, "batches"):
        images = images.batches(batch_size)
    if isinstance(images, (tuple, list)) and len(images) == 2:
        return _sliced(*map(np.asarray, images), batch_size)
    spec = getattr(images, "element_spec", None)
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise TypeError(
            "Images come as an ImageSet, a tf.data.Dataset of (images, labels) batches "
            f"or a pair of arrays (images, labels). Received: {images!r:.200}"
        )
    if images.cardinality() == -1:
        raise ValueError(f"The images must come to an end. Received: {images!r}")
    return images


def _sliced(images, labels, batch_size):
    if len(images) != len(labels):
        raise ValueError(
            "Images and labels must have the same length. Received: "
            f"images.shape={images.shape}, labels.shape={labels.shape}"
        )
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], labels[start : start + batch_size]
