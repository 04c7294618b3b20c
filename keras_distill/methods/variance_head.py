"""The branch that predicts how uncertain each lesson of a teacher is."""

from keras import layers, ops

from keras_distill.methods.kept_state import add_state

# Steps that the running mean of the residual looks back on, at most.
WINDOW = 100
# Where the residual is 0 its logarithm is not taken.
TINY = 1e-30


class VarianceHead(layers.Layer):
    """Log-variances from features: a linear layer and batch normalisation.

    No activation: a log-variance has any sign. Over a batch each column has the mean
    beta and the standard deviation gamma of the normalisation, so that the branch
    cannot send all variances to 0 together. A batch of one row has beta alone.

    A batch in which nothing is valid gives zeros and moves the averages that are
    used in evaluation a tenth of the way to 0.

    Args:
        width: Positive integer, log-variances a row.
        detach: Whether the features get no gradient from here.
        limits: `None`, or `(low, high)` between which log-variances are cut off.
        start_at_residual: Whether to add the logarithm of what `measure` has seen.
    """

    def __init__(self, width, detach=False, limits=None, start_at_residual=False):
        super().__init__(dtype="float32", name="variance_head")
        self.width = width
        self.detach = detach
        self.limits = limits
        self.dense = layers.Dense(width, dtype="float32", name="dense")
        # The figures of PyTorch, which the method was published with; those of Keras
        # are 1e-3 and 0.99.
        self.norm = layers.BatchNormalization(
            epsilon=1e-5, momentum=0.9, dtype="float32", name="norm"
        )
        self.residual = None
        if start_at_residual:
            self.residual = add_state(self, "residual", (width,), initializer="ones")
            self.measured = add_state(self, "measured", dtype="int32")

    def build(self, input_shape):
        channels = input_shape[-1]
        self.dense.build((None, channels))
        self.norm.build((None, self.width))
        self.built = True

    def call(self, features, valid=None, training=False):
        """Predicts.

        Args:
            features: `(batch, ..., channels)`.
            valid: `None`, or booleans `(batch, ...)`: what is not valid takes no part
                in the statistics, and gets and gives no gradient.
            training: Boolean, whether the statistics are those of the batch.

        Returns:
            Float32 `(batch, ..., width)`.
        """
        # Rows, for boxes and cells are samples like others, and the normalisation
        # wants to know the rank before it sees any.
        rows = ops.reshape(features, (-1, features.shape[-1]))
        if valid is not None:
            valid = ops.reshape(valid, (-1,))
            rows = ops.where(ops.expand_dims(valid, -1), rows, 0.0)
        if self.detach:
            rows = ops.stop_gradient(rows)
        rows = self.norm(self.dense(rows), training=training, mask=valid)
        if self.residual is not None:
            rows = rows + ops.log(ops.maximum(self.residual, TINY))
        if self.limits is not None:
            rows = ops.clip(rows, *self.limits)
        return ops.reshape(rows, (*ops.shape(features)[:-1], self.width))

    def measure(self, distance, valid, active):
        """Takes a batch into the running mean of the residual.

        It is the plain mean of the first `WINDOW` batches, from then on a moving
        average over about as many: the residual falls while it is measured.

        Args:
            distance: Float32 `(batch, ..., width)`; or without the last axis if `width`
                is 1.
            valid: `None`, or booleans `(batch, ...)`.
            active: Boolean scalar tensor; where it is false nothing changes.
        """
        distance = ops.stop_gradient(ops.reshape(distance, (-1, self.width)))
        if valid is None:
            mean = ops.mean(distance, axis=0)
        else:
            counted = ops.cast(ops.reshape(valid, (-1, 1)), "float32")
            count = ops.sum(counted)
            active = ops.logical_and(active, count > 0)
            mean = ops.sum(distance * counted, axis=0) / ops.maximum(count, 1.0)
        self.measured.assign_add(ops.cast(active, "int32"))
        among = ops.cast(ops.minimum(self.measured, WINDOW), "float32")
        share = ops.where(active, 1.0 / ops.maximum(among, 1.0), 0.0)
        self.residual.assign_add(share * (mean - self.residual))
