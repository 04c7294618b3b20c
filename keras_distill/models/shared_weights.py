"""Models that are one in part: what trains one changes the other."""


def share_weights(model, other):
    """Whether two models have a variable in common."""
    own = {id(variable) for variable in model.variables}
    return any(id(variable) in own for variable in other.variables)
