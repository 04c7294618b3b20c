"""One vector for each group of images, the images weighted by their scores."""

import keras
from keras import ops

from keras_distill import group_pooling
from keras_distill.similarity import normalize


@keras.saving.register_keras_serializable(package="keras_distill")
class GroupPooling(keras.layers.Layer):
    """`group_pooling.pool_groups` of embeddings and scores, in float32.

    Has no weights, treats each group by itself, and converts to TFLite with built-in
    operators only.

    Args:
        rescale_above: Integer >= 0, threshold: float in [0, 1), keep: positive integer
            or `None`; see `group_pooling.group_weights`. Default to `2`, `0.0`
            and `None`.
        normalize_elements: Whether each element is brought to length 1 first, so
            that its length does not weigh. Defaults to `False`.
        normalize_output: Whether the result is brought to length 1; what is shorter
            than 1e-12, as the row of an empty group is, becomes 0. Defaults to
            `False`.
        dtype: Defaults to `"float32"` whatever the global policy.
        **kwargs: See `keras.layers.Layer`.

    Call arguments:
        features: `(G, N, D)`, one row an element.
        scores: `(G, N)`, not negative.
        mask: Boolean `(G, N)`, what is an element; what is not may hold anything,
            NaN too. `None` if everything is.

    Returns:
        `(G, D)`: convex combinations of the elements, or their directions. Zeros for
        an empty group.

    Raises:
        ValueError: If an option is out of its range, or shapes do not agree.
    """

    def __init__(
        self,
        rescale_above=2,
        threshold=0.0,
        keep=None,
        normalize_elements=False,
        normalize_output=False,
        dtype="float32",
        **kwargs,
    ):
        # Half precision would round the scores before anything is computed.
        super().__init__(dtype=dtype, autocast=False, **kwargs)
        group_pooling.check_options(rescale_above, threshold, keep)
        self.rescale_above = rescale_above
        self.threshold = threshold
        self.keep = keep
        self.normalize_elements = normalize_elements
        self.normalize_output = normalize_output

    def call(self, features, scores, mask=None):
        pooled = group_pooling.pool_groups(
            features,
            scores,
            mask,
            self.rescale_above,
            self.threshold,
            self.keep,
            self.normalize_elements,
        )
        if self.normalize_output:
            pooled = normalize(pooled)
        return ops.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, features_shape, scores_shape, mask_shape=None):
        return (features_shape[0], features_shape[-1])

    def get_config(self):
        return {
            **super().get_config(),
            "rescale_above": self.rescale_above,
            "threshold": self.threshold,
            "keep": self.keep,
            "normalize_elements": self.normalize_elements,
            "normalize_output": self.normalize_output,
        }
