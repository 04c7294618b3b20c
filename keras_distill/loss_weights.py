"""The weights of the losses of `compile`, where a method takes its share."""


def shared_out(weights, loss, share):
    """`loss_weights` that multiply every loss by `share` as well.

    Args:
        weights: What was given to `compile`: a number, a list, a dictionary, `None`.
        loss: What was given to `compile` as its loss.
        share: Float.

    Returns:
        Weights of the structure that Keras wants for `loss`.
    """
    if share == 1.0 or loss is None:
        return weights
    if isinstance(weights, dict):
        return {name: weight * share for name, weight in weights.items()}
    if isinstance(weights, list | tuple):
        return [weight * share for weight in weights]
    if isinstance(weights, float | int):
        return weights * share
    if isinstance(loss, dict):
        return {name: share for name in loss}
    if isinstance(loss, list | tuple):
        return [share] * len(loss)
    return share
