"""A student and its inner layers, in one forward pass."""

import keras

from keras_distill.models.tap import OUTPUT, shapes_of, tap


class StudentView:
    """Calls a student, and keeps what its inner layers put out on the way.

    Not a layer, so that a model that holds it beside the student neither counts nor
    saves the student twice.

    Args:
        model: A built `keras.Model`.
        paths: Iterable of paths of inner layers, see `tap`; may be empty.
        embedding: Whether the embedding is read: of a student with several outputs
            that is its layer `embedding`.

    Raises:
        ValueError: As `tap`.
    """

    def __init__(self, model, paths=(), embedding=True):
        self.model = model
        paths = list(dict.fromkeys(paths))
        if embedding and len(getattr(model, "outputs", ())) > 1:
            paths = list(dict.fromkeys([*paths, "embedding"]))
        self._view = tap(model, paths) if paths else None

    def shapes(self):
        """From each path to the shape of that layer's output, from `"output"` to that
        of the embedding."""
        shapes = {}
        if self._view is not None:
            outputs = self._view.output
            shapes = {
                path: shapes_of(x) for path, x in outputs.items() if path != OUTPUT
            }
        shapes[OUTPUT] = shapes.get("embedding", _output_shape(self.model))
        return shapes

    def __call__(self, images, training=None):
        """The student's output, which `layers` knows again."""
        if self._view is None:
            return self.model(images, training=training)
        found = self._view(images, training=training)
        output = found.pop(OUTPUT)
        # A loss needs these of the same forward pass and the same replica. As Keras
        # does with masks, they travel with the tensor: an attribute of the model would
        # be overwritten by the next replica.
        keras.tree.flatten(output)[0]._keras_distill_layers = found
        return output

    def layers(self, output, images):
        """What the inner layers put out when the student put out `output`.

        Args:
            output: What a call returned. For predictions from elsewhere (Keras's
                symbolic dry run before the first step, or a caller's own) the student
                is run again; a training step never comes to that.
            images: What it was called with.

        Returns:
            The embeddings, and a dictionary from path to output.
        """
        first = keras.tree.flatten(output)[0]
        layers = getattr(first, "_keras_distill_layers", None)
        if layers is None and self._view is not None:
            layers = self._view(images)
        layers = layers or {}
        return layers.get("embedding", first), layers


def _output_shape(student):
    try:
        return student.output_shape
    except AttributeError:  # a subclassed model does not know
        return (None, None)
