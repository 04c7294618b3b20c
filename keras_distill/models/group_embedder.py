"""An embedder of groups: score all images, embed the best, pool their embeddings."""

import keras
from keras import ops

from keras_distill import group_pooling
from keras_distill.similarity import normalize


def group_embedder(embedder, scorer, keep=None, rescale_above=2, threshold=0.0):
    """Builds a `keras.Model` from groups of images to one unit vector each.

    A group's vector is `methods.ddl.pool_groups` of its images' embeddings,
    as the embedder gives them, weighted by its images' scores, at length 1. Both
    networks run in inference mode always, and share their weights with the model.

    With `keep`, all images are scored and only the `keep` best of each group embedded:
    of a batch of G groups the embedder gets G * keep images (or G * N, if that is
    less), and the rest of the work is the scorer's. The result is that of
    embedding all and pooling with `keep`.

    Args:
        embedder: A `keras.Model` from images `(batch, height, width, channels)` to
            `(batch, dim)`, of any making, its preprocessing inside.
        scorer: A `keras.Model` from the same images to one number each, `(batch, 1)`
            or `(batch,)`, not negative, such as `models.scorer`.
        keep: Positive integer or `None` for all, rescale_above, threshold: see
            `methods.ddl.group_weights`. Default to `None`, `2`, `0.0`.

    Returns:
        An uncompiled functional `keras.Model` of the inputs `{"image": (G, N, height,
        width, channels), "mask": boolean (G, N)}`, where N may change from batch to
        batch, and the output float32 `(G, dim)`. Rows have length 1; that of a
        group without images is 0. What stands where the mask is false is never used.

    Raises:
        TypeError: If `embedder` or `scorer` is no `keras.Model`.
        ValueError: If they take images of different or unknown sizes, if they do not
            give rows `(batch, dim)` and scores, or if an option is out of its range.

    Example:

    ```python
    groups = keras_distill.models.group_embedder(embedder, scorer, keep=3)
    groups.predict(keras_distill.data.groups(images, size=8))  # (groups, dim)
    ```
    """
    embed_groups = GroupEmbedder(embedder, scorer, keep, rescale_above, threshold)
    image_shape = _image_shape(embedder, scorer)
    _check_output("embedder", embedder, image_shape, "(batch, dim)")
    _check_output("scorer", scorer, image_shape, "(batch, 1)")
    image = keras.Input((None, *image_shape), name="image")
    mask = keras.Input((None,), dtype="bool", name="mask")
    return keras.Model(
        {"image": image, "mask": mask},
        embed_groups(image, mask),
        name=f"{embedder.name}_groups",
    )


@keras.saving.register_keras_serializable(package="keras_distill")
class GroupEmbedder(keras.layers.Layer):
    """What the model of `group_embedder` does, as a layer that holds both networks.

    Args:
        embedder, scorer, keep, rescale_above, threshold: See `group_embedder`.
        **kwargs: See `keras.layers.Layer`. The layer's own `dtype` is float32: pixel
            values do not fit in half precision, and the networks have their own.

    Call arguments:
        images: `(G, N, height, width, channels)`.
        mask: Boolean `(G, N)`.

    Returns:
        float32 `(G, dim)`.
    """

    def __init__(
        self, embedder, scorer, keep=None, rescale_above=2, threshold=0.0, **kwargs
    ):
        super().__init__(**{"dtype": "float32", "autocast": False, **kwargs})
        for name, model in (("embedder", embedder), ("scorer", scorer)):
            if not isinstance(model, keras.Model):
                raise TypeError(
                    f"`{name}` must be a keras.Model. "
                    f"Received: {name}={model!r} of type {type(model).__name__}"
                )
        group_pooling.check_options(rescale_above, threshold, keep)
        self.embedder, self.scorer = embedder, scorer
        self.keep = keep
        self.rescale_above, self.threshold = rescale_above, threshold

    def call(self, images, mask):
        shown = ops.reshape(mask, (*ops.shape(mask), 1, 1, 1))
        # Pooling leaves these out; but gradients of NaN would reach the networks.
        images = ops.where(shown, images, 0)
        # (G * N, height, width, channels)
        images = ops.reshape(images, (-1, *ops.shape(images)[2:]))
        scores = self.scorer(images, training=False)
        scores = ops.reshape(scores, ops.shape(mask))
        options = self.rescale_above, self.threshold
        if self.keep is not None:
            weights = group_pooling.group_weights(scores, mask, *options, self.keep)
            places = ops.shape(mask)[1]
            # Ranks are all different: any sort orders them in one way.
            best = ops.argsort(group_pooling.group_ranks(scores, mask), axis=1)
            best = ops.cast(best[:, : self.keep], "int32")  # (G, keep)
            starts = places * ops.arange(ops.shape(mask)[0])
            rows = ops.reshape(best + ops.expand_dims(starts, 1), (-1,))
            images = ops.take(images, rows, axis=0)
            scores = ops.take_along_axis(weights, best, axis=1)
            mask = ops.take_along_axis(mask, best, axis=1)
            # These are weights already: no group is large enough to be stretched.
            options = self.keep, 0.0
        features = self.embedder(images, training=False)
        features = ops.reshape(features, (*ops.shape(mask), features.shape[-1]))
        return normalize(group_pooling.pool_groups(features, scores, mask, *options))

    def get_config(self):
        return {
            **super().get_config(),
            "embedder": keras.saving.serialize_keras_object(self.embedder),
            "scorer": keras.saving.serialize_keras_object(self.scorer),
            "keep": self.keep,
            "rescale_above": self.rescale_above,
            "threshold": self.threshold,
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("embedder", "scorer"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _image_shape(embedder, scorer):
    """The size of images that both take; sizes one leaves open are the other's."""
    shapes = [_input_shape(model) for model in (embedder, scorer)]
    sizes = [
        {size for size in pair if size is not None}
        for pair in zip(*shapes, strict=False)
    ]
    if {len(shape) for shape in shapes} != {3} or any(len(s) != 1 for s in sizes):
        raise ValueError(
            "Embedder and scorer must take the same images (height, width, channels), "
            "of a size that at least one of them says. Received: "
            f"embedder={embedder.name!r} of input shape {shapes[0]}, "
            f"scorer={scorer.name!r} of input shape {shapes[1]}"
        )
    return tuple(size for (size,) in sizes)


def _input_shape(model):
    """Without the batch; unknown sizes for a model that does not say."""
    shape = getattr(model, "input_shape", None)
    if shape is None:
        return (None, None, None)
    # Of several inputs it is a list or a dictionary of shapes.
    return shape[1:] if isinstance(shape, tuple) else ()


def _check_output(name, model, image_shape, wanted):
    """Runs `model` on a symbol of images, which builds one that is not built."""
    output = model(keras.Input(image_shape), training=False)
    shape = getattr(output, "shape", (None,) * 3)[1:]
    fits = shape in ((), (1,)) if wanted == "(batch, 1)" else len(shape) == 1
    if not fits:
        found = keras.tree.map_structure(lambda x: tuple(x.shape), output)
        raise ValueError(
            f"`{name}` must give one row an image, {wanted}. "
            f"Received: {name}={model.name!r} with output shape {found}"
        )
