"""The last layer of every embedder: rows of length one."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_distill")
class L2Normalization(keras.layers.Layer):
    """Divides each row by its Euclidean length, in float32.

    Written as `x * rsqrt(max(sum(x**2), epsilon))`, the form that the TFLite
    converter fuses to one `L2_NORMALIZATION` op, where
    `keras.layers.UnitNormalization` becomes five ops of which int8 conversion
    ruins the length. A row shorter than `sqrt(epsilon)` keeps its direction but
    not length one: the zero row stays zero, and its gradient is finite.

    Args:
        epsilon: Positive float, the least squared length. Small by default,
            `1e-24`, because an untrained deep net ends in rows as short as 1e-10.
        dtype: Defaults to `"float32"` whatever the global policy: lengths and
            cosines lose too much in half precision.
        **kwargs: See `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor `(..., dim)`.

    Returns:
        Float tensor of the shape of `inputs`, each last axis of length one.

    Raises:
        ValueError: If `epsilon` is not positive.
    """

    def __init__(self, epsilon=1e-24, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        if not epsilon > 0:
            raise ValueError(f"`epsilon` must be positive. Received: epsilon={epsilon}")
        self.epsilon = epsilon

    def call(self, inputs):
        squared = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(squared, self.epsilon))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
