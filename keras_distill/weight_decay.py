"""Weights that no optimiser should pull towards zero."""


def spare(optimizer, variables):
    """Excludes variables from weight decay, besides those that are excluded already.

    Args:
        optimizer: A `keras.optimizers.Optimizer`, or one that scales the loss.
        variables: List of variables.

    Raises:
        ValueError: If the optimizer is built already, decays weights and does not
            spare these: Keras takes no exclusions then.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not variables or not getattr(optimizer, "weight_decay", None):
        return
    # Keras's `exclude_from_weight_decay` forgets what was excluded before it, by
    # variable and by name; there is no public way to add to that.
    excluded = getattr(optimizer, "_exclude_from_weight_decay", set())
    keys = {optimizer._var_key(variable) for variable in variables}
    if optimizer.built and not keys <= excluded:
        raise ValueError(
            "The weights of losses and methods are spared weight decay, which an "
            "optimizer must know before it is built: compile with a new one. "
            f"Received: optimizer={optimizer.name!r}, which is built"
        )
    optimizer._exclude_from_weight_decay = excluded | keys
    optimizer._exclude_from_weight_decay_cache = {}
