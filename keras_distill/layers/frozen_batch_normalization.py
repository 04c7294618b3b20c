"""Batch normalisation whose averages stay as training left them."""

import keras


@keras.saving.register_keras_serializable(package="keras_distill")
class FrozenBatchNormalization(keras.layers.BatchNormalization):
    """Normalises by the moving averages, in training too, and does not move them.

    Scale and offset train. It is for a net that was trained before and goes on with
    small batches or other data: what it computes of an image is then the same in
    training and in inference, and does not depend on the other images of the batch.
    The authors of S2SD (https://arxiv.org/abs/2009.08348) so train ImageNet's nets, and
    those of global knowledge (https://arxiv.org/abs/2210.09022) their detectors.

    Keras has no switch for it: `trainable=False` freezes scale and offset as well, and
    `training=False`, said where a functional model is built, is overruled by `fit`.
    `models.frozen_statistics` puts it in place of `keras.layers.BatchNormalization`,
    with which it shares arguments, weights and their order.

    Args:
        axis, epsilon, center, scale, beta_initializer, gamma_initializer,
            moving_mean_initializer, moving_variance_initializer, beta_regularizer,
            gamma_regularizer, beta_constraint, gamma_constraint: See
            `keras.layers.BatchNormalization`.
        momentum, renorm, renorm_clipping, renorm_momentum, synchronized: There; without
            effect here.
        **kwargs: See `keras.layers.Layer`.

    Call arguments:
        inputs: Float tensor of any rank.
        training: Without effect.
        mask: Without effect.

    Returns:
        Tensor of the shape of `inputs`.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)
