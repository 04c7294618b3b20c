"""What losses against one learned vector a class have in common."""

import math

import keras

from keras_distill.losses.trainable_loss import TrainableLoss


class ProxyLoss(TrainableLoss):
    """Base of the losses that compare embeddings with a proxy of each class.

    Proxies begin as random directions, normal with standard deviation 1 / sqrt(dim):
    of length about 1, so that a step turns them about as far as it turns embeddings.

    Args:
        num_classes, learning_rate_multiplier, reduction, name: See `TrainableLoss`.
    """

    _proxies = None

    def create_weights(self, dim):
        self._dim = dim
        self._proxies = self.add_weight(
            "proxies",
            (self.num_classes, dim),
            lambda shape: keras.random.normal(shape, stddev=1 / math.sqrt(dim)),
        )

    @property
    def proxies(self):
        """Float32 tensor `(num_classes, dim)`; `None` before `build`."""
        return None if self._proxies is None else self.value(self._proxies)
