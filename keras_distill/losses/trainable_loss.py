"""Losses that learn: where their weights live, and who must look after them."""

import keras
import tensorflow as tf
from keras import ops

from keras_distill.losses import batch


class TrainableLoss(keras.losses.Loss):
    """Base of the losses with weights of their own (proxies, beta).

    Keras trains, saves and resumes the weights of layers, and a loss is none. So the
    weights live in `loss.parameters`, a layer, and a model has to take charge of it.
    `Distiller` does. In any other model of yours:

        loss.build(dim)                     # dim: width of the embeddings
        model.criterion = loss.parameters   # trained, saved, resumed
        loss.track(model)                   # "somebody looks after the weights"
        model.compile("adam", loss=loss)

    Until `track` is called the loss refuses to run inside a `tf.function`, which is
    what `fit` makes: its weights would silently stay where they began. Calls outside
    of one (custom loops, tests) always work.

    `get_config` holds the arguments, not the weights: a loss made by `from_config` is
    new. To save the weights save the model that tracks `loss.parameters`; when it is
    loaded, weights not built yet are built to the shape of what was saved. (The config
    of a functional model does not hold its attributes: make the model anew, track a
    loss as above, and `load_weights`.)

    To write one, override `create_weights` and `formula`.

    Args:
        num_classes: Positive integer; labels are `0 .. num_classes - 1`. In an eager
            call another label raises ValueError. In a graph, where not every device
            can raise, such a row has value NaN and no gradient.
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
        raise NotImplementedError(
            f"{type(self).__name__} must define `create_weights`."
        )

    def formula(self, labels, embeddings):
        """The loss of one checked batch.

        Args:
            labels: Int32 tensor `(batch,)` in `0 .. num_classes - 1`.
            embeddings: Float32 tensor `(batch, dim)`.

        Returns:
            Float32 tensor `(batch,)`, whose plain mean is the loss. Not a scalar: Keras
            does not divide a scalar by the number of replicas.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `formula`.")

    @property
    def tracked(self):
        """Whether a model has taken charge of `parameters`, by calling `track`."""
        return self._tracked

    def track(self, model=None):
        """Says that a model trains and saves `parameters`.

        Args:
            model: The model, to have it checked, or `None` to be believed.

        Raises:
            ValueError: If the weights are not built, or not among those of `model`. A
                `keras.Sequential`, for one, tracks its layers only, no attributes.
        """
        if model is not None:
            tracked = {id(variable) for variable in model.variables}
            if not self.parameters.built or not tracked.issuperset(
                id(variable) for variable in self.parameters.variables
            ):
                raise ValueError(
                    f"The weights of {type(self).__name__} must be built, and be among "
                    "the variables of the model: `loss.build(dim)` and "
                    "`model.criterion = loss.parameters`, on a model that is not a "
                    f"keras.Sequential. Received: built={self.parameters.built}, "
                    f"model={model}"
                )
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
                " or do `loss.build(dim)`, `model.criterion = loss.parameters` "
                "and `loss.track(model)` before `model.compile(loss=loss)`. "
                f"Received: tracked={self.tracked}"
            )
        self.build(embeddings.shape[1])
        labels, valid = batch.read_classes(labels, self.num_classes)
        return batch.mark_invalid(self.formula(labels, embeddings), valid)

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
        if not self.built:
            # A loss that nobody has used and the file does not know stays new. (A
            # loaded model looks into its compiled loss, wherever that was saved.)
            if "0" not in store:
                return
            # The file knows how wide the embeddings are, though none was seen yet.
            self.build((None, store["0"].shape[-1]))
        super().load_own_variables(store)
