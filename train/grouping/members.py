"""What the networks say of the images that groups are made of."""

import typing

import numpy as np

import keras_distill as kd

BATCH = 128
# How far from 1 the length of an embedding may be that the model made of length 1.
UNIT = 1e-3
# Layer of `kd.models.embedder` that holds an embedding before it is given length 1.
BEFORE_UNIT = "projection"


class Seen(typing.NamedTuple):
    """An embedder's view of images.

    Attributes:
        features: float32 `(..., D)`, the embeddings as they come.
        norms: float32 `(...)`, the length of each before it was made a unit vector;
            `None` where that cannot be had.
    """

    features: np.ndarray
    norms: np.ndarray | None

    @property
    def units(self):
        """float32 `(..., D)`, embeddings of length 1."""
        lengths = np.linalg.norm(self.features, axis=-1, keepdims=True)
        return self.features / np.where(lengths > 0, lengths, 1)


def look(embedder, images, views, rows, which, scorer=None):
    """Calls the networks on fixed views of images, each of which is made once.

    Args:
        embedder: `keras.Model`.
        images: `ImageSet`.
        views: `FixedViews`.
        rows: Int array of any shape, positions in `images`.
        which: Int array that fits `rows`: the view of each.
        scorer: `keras.Model` that is called as well, or `None`.

    Returns:
        `Seen`, and the scores, of the shape of `rows`; `None` without a scorer.
    """
    taps = [BEFORE_UNIT] if BEFORE_UNIT in _layers(embedder) else []
    shape = np.broadcast_shapes(np.shape(rows), np.shape(which))
    models = [kd.models.tap(embedder, taps) if taps else embedder]
    models += [] if scorer is None else [scorer]
    pixels = _batches(images, views, *np.broadcast_arrays(rows, which))
    said = [
        {name: some.reshape(shape + some.shape[1:]) for name, some in outputs.items()}
        for outputs in _outputs(models, pixels)
    ]
    scores = said[1]["output"][..., 0] if scorer is not None else None
    return _seen(said[0]), scores


def _batches(images, views, rows, which):
    import tensorflow as tf

    from keras_distill.data.progress import progress

    places = [part.reshape(-1).astype("int64") for part in (rows, which)]
    dataset = tf.data.Dataset.from_tensor_slices(tuple(places)).batch(BATCH)
    dataset = dataset.map(views.of(images), num_parallel_calls=tf.data.AUTOTUNE)
    total = -(-rows.size // BATCH)
    return progress(dataset.prefetch(tf.data.AUTOTUNE), total, "Looking at groups")


def _outputs(models, batches):
    """For each model a dictionary of arrays, `"output"` and what is tapped."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def call(images):
        outputs = [model(images, training=False) for model in models]
        return [x if isinstance(x, dict) else {"output": x} for x in outputs]

    found = [call(batch) for batch in batches]
    return [
        {
            name: np.concatenate([outputs[n][name].numpy() for outputs in found])
            for name in found[0][n]
        }
        for n in range(len(models))
    ]


def _seen(said):
    features = said["output"]
    lengths = np.linalg.norm(features, axis=-1)
    if np.abs(lengths - 1).max() > UNIT:
        return Seen(features, lengths)
    if BEFORE_UNIT not in said:
        return Seen(features, None)
    raw = said[BEFORE_UNIT]
    norms = np.linalg.norm(raw, axis=-1)
    # Another model may have a layer of that name which is something else.
    same = raw.shape == features.shape
    same = (
        same and np.abs(raw - norms[..., None] * features).max() <= UNIT * norms.max()
    )
    return Seen(features, norms if same else None)


def _layers(model):
    from keras_distill.models.tap import is_tappable

    return [layer.name for layer in model.layers] if is_tappable(model) else []
