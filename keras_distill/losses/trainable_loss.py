"""Losses that learn: where their weights live, and who must look after them."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_distill.losses import batch


class TrainableLoss(keras.losses.Loss):
    """Base of the losses with weights of their own (proxies, beta).

    Keras trains, saves and resumes the weights of layers, and a loss is none. So the
    weights live in `loss.parameters`, a layer, and a model has to take charge of it.
    `Distiller` does. In any other model of yours:

        model.criterion = loss.parameters   # tracked: trained, saved, resumed
        loss.build(dim)                     # dim: width of the embeddings
        loss.track()                        # "somebody looks after the weights"
        model.compile("adam", loss=loss)

    Until `track` is called the loss refuses to run inside a `tf.function`, which is
    what `fit` makes: its weights would silently stay where they began. Calls outside
    of one (custom loops, tests) always work.

    `get_config` holds the arguments, not the weights: a loss made by `from_config` is
    new. To save the weights save the model that tracks `loss.parameters`; when it is
    loaded, weights not built yet are built to the shape of what was saved.

    To write one, override `create_weights` and `formula`.

    Args:
        num_classes: Positive integer; labels are `0 .. num_classes - 1`. In an eager
            call another label raises ValueError. In a graph, where not every device
            can raise, such a row has value NaN (the whole loss where it is a scalar)
            and no gradient.
        learning_rate_multiplier: Positive float. Weights are stored divided by it and
            multiplied when used. Under optimisers that normalise the gradient (Adam
            and its kin) they move that many times faster than the model's; under
            plain SGD, whose step also grows with the gradient, its square times
            faster. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String.

    Raises:
        ValueError: If `num_classes` or `learning_rate_multiplier` is not positive.
    """

    def __init__(
        self,
        num_classes,
        learning_rate_multiplier=1.0,
        reduction="sum_over_batch_size",
        name=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if num_classes != int(num_classes) or num_classes < 1:
            raise ValueError(
                "`num_classes` must be a positive integer. "
                f"Received: num_classes={num_classes}"
            )
        batch.check_positive(learning_rate_multiplier=learning_rate_multiplier)
        self.num_classes = int(num_classes)
        self.learning_rate_multiplier = learning_rate_multiplier
        self.parameters = _Parameters(self.create_weights, f"{self.name}_parameters")
        self._tracked = False
        self._dim = None

    def create_weights(self, dim):
        """Makes the weights, by `self.add_weight`, for embeddings of width `dim`."""
        raise NotImplementedError

    def formula(self, labels, embeddings):
        """The loss of one checked batch.

        Args:
            labels: Int32 tensor `(batch,)` in `0 .. num_classes - 1`.
            embeddings: Float32 tensor `(batch, dim)`.

        Returns:
            Float32 tensor `(batch,)` or scalar.
        """
        raise NotImplementedError

    @property
    def tracked(self):
        """Whether a model has taken charge of `parameters`, by calling `track`."""
        return self._tracked

    def track(self):
        """Says that a model trains and saves `parameters`."""
        self._tracked = True

    def build(self, dim):
        """Creates the weights, unless they exist.

        Args:
            dim: Positive integer, the width of the embeddings.

        Raises:
            ValueError: If the weights exist for another width.
        """
        if self._dim not in (None, dim):
            raise ValueError(
                f"The weights of {type(self).__name__} were made for embeddings of "
                f"width {self._dim}; make another instance for another width. "
                f"Received: dim={dim}"
            )
        if not self.parameters.built:
            self.parameters.build((None, dim))
        self._dim = dim

    def add_weight(self, name, shape, initial):
        """Adds a weight to `parameters`.

        Args:
            name: String.
            shape: Tuple of integers.
            initial: Function of the shape that returns the initial value.

        Returns:
            The variable; `self.value(variable)` is what a formula uses.
        """
        return self.parameters.add_weight(
            name=name,
            shape=shape,
            initializer=lambda shape, dtype: (
                ops.cast(initial(shape), dtype) / self.learning_rate_multiplier
            ),
            # A half-precision scope around the loss must not round them.
            autocast=False,
        )

    def value(self, variable):
        """A weight as formulas use it: the stored one times the multiplier."""
        return ops.convert_to_tensor(variable) * self.learning_rate_multiplier

    def call(self, y_true, y_pred):
        labels, embeddings = batch.read_batch(y_true, y_pred)
        if tf.inside_function() and not self.tracked:
            raise ValueError(
                f"The weights of {type(self).__name__} would be neither trained nor "
                "saved by this model. Train through `keras_distill.Distiller(student)`,"
                " or do `model.criterion = loss.parameters`, `loss.build(dim)` and "
                "`loss.track()` before `model.compile(loss=loss)`. "
                f"Received: tracked={self.tracked}"
            )
        self.build(embeddings.shape[1])
        labels = ops.cast(labels, "int32")
        valid = ops.logical_and(labels >= 0, labels < self.num_classes)
        if not tf.inside_function():
            self._check_labels(labels, valid)
        # Clipped, because gathering out of range raises on some devices only.
        value = self.formula(ops.clip(labels, 0, self.num_classes - 1), embeddings)
        if len(value.shape) == 0:
            valid = ops.all(valid)
        return ops.where(valid, value, float("nan"))

    def _check_labels(self, labels, valid):
        if not np.all(ops.convert_to_numpy(valid)):
            wrong = ops.convert_to_numpy(labels)[~ops.convert_to_numpy(valid)]
            raise ValueError(
                f"Labels must lie in 0..{self.num_classes - 1}, as num_classes="
                f"{self.num_classes} says. Received: labels={sorted(set(wrong))[:5]}"
            )

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }


class _Parameters(keras.layers.Layer):
    """Owns the weights of a loss; made with it, never called."""

    def __init__(self, create_weights, name):
        super().__init__(name=name, dtype="float32")
        self._create_weights = create_weights

    def build(self, input_shape):
        self._create_weights(input_shape[-1])

    def load_own_variables(self, store):
        # A loaded model has not seen a batch; the file knows how wide they are.
        if not self.built and "0" in store:
            self.build((None, store["0"].shape[-1]))
        super().load_own_variables(store)
