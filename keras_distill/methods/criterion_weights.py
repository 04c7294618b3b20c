"""A place in a model for the weights of its losses."""

import keras

from keras_distill.losses import TrainableLoss


class CriterionWeights(keras.layers.Layer):
    """Takes charge of the losses that have weights, so that a model trains them.

    Losses arrive with `compile`, when the model around them is built already and
    closed to new layers. This layer stays open: `replace` may be called again.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.owners = []
        self.built = True

    def replace(self, criteria, dims):
        """Builds and tracks the weights of `criteria`, letting go of earlier ones.

        Args:
            criteria: List of losses; those without weights are passed over.
            dims: List of the width of the embeddings that each of them will see.
        """
        self.owners.clear()
        for criterion, dim in zip(criteria, dims, strict=True):
            if isinstance(criterion, TrainableLoss):
                criterion.build(dim)
                criterion.track()
                self.owners.append(criterion.parameters)
