"""An embedder and a scorer of the same images, and what they must give."""

import keras

from keras_distill.models.shared_weights import share_weights


def refuse_other_models(embedder, scorer):
    """Raises unless two models can be trained together: one frozen, one to learn.

    Args:
        embedder: From images to `(batch, dim)`.
        scorer: From the same images to one number each.

    Raises:
        TypeError: If one is no `keras.Model`.
        ValueError: If one is not built or gives something else, or if they take images
            of different shapes or share weights. Subclassed models do not know their
            shapes: what they give has to be looked at when they are called.
    """
    for name, model in (("embedder", embedder), ("scorer", scorer)):
        if not isinstance(model, keras.Model):
            raise TypeError(
                f"`{name}` must be a keras.Model. "
                f"Received: {name}={model!r} of type {type(model).__name__}"
            )
        if not model.built:
            raise ValueError(
                f"`{name}` must be built: call it once on a batch of images. "
                f"Received: {name}={model.name!r}, which has no weights yet"
            )
    if hasattr(embedder, "output"):
        refuse_other_embeddings(embedder.output, embedder.name)
    if hasattr(scorer, "output"):
        refuse_other_scores(scorer.output, scorer.name)
    shapes = [getattr(model, "input_shape", None) for model in (embedder, scorer)]
    if all(isinstance(shape, tuple) and len(shape) == 4 for shape in shapes):
        sizes = zip(*shapes, strict=True)
        if any(None not in pair and len(set(pair)) > 1 for pair in sizes):
            raise ValueError(
                "The same images go to embedder and scorer, which must take one shape: "
                "a Resizing layer at its beginning lets the scorer see them smaller. "
                f"Received: embedder.input_shape={shapes[0]}, "
                f"scorer.input_shape={shapes[1]}"
            )
    if share_weights(embedder, scorer):
        raise ValueError(
            "The embedder is frozen, so the scorer must not share weights with it: "
            f"make it of a clone. Received: scorer={scorer.name!r}, "
            f"embedder={embedder.name!r}"
        )


def refuse_other_embeddings(output, name):
    """Raises ValueError unless `output` is one tensor `(batch, dim)`."""
    shape = getattr(output, "shape", None)
    if shape is None or len(shape) != 2:
        raise ValueError(
            "The embedder must give one embedding an image, (batch, dim). "
            f"Received: embedder={name!r}, whose output has shape {_shapes(output)}"
        )


def refuse_other_scores(output, name):
    """Raises ValueError unless `output` is one tensor `(batch, 1)` or `(batch,)`."""
    shape = getattr(output, "shape", None)
    if shape is None or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise ValueError(
            "The scorer must give one number an image, (batch, 1) or (batch,). "
            f"Received: scorer={name!r}, whose output has shape {_shapes(output)}"
        )


def _shapes(output):
    return keras.tree.map_structure(lambda x: tuple(x.shape), output)
