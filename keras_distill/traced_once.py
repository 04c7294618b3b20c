"""Trace a training step once, not twice."""


def build_optimizer(model):
    """Makes the optimizer's variables before the training step is traced.

    Keras leaves them to the first step. TensorFlow traces a function that makes
    variables a second time, without them: half of what `fit` needs to begin. Of a
    model that is not built yet they are left to the first step as well.

    Args:
        model: `keras.Model`, compiled.
    """
    optimizer = model.optimizer
    if optimizer is None or optimizer.built or not model.built:
        return
    if all(layer.built for layer in model._flatten_layers()):
        optimizer.build(model.trainable_variables)
