"""Distances weighed by a learned uncertainty: the mathematics of PAD.

Zhang, Wang, Zhang, Yu, Tian, "Prime-Aware Adaptive Distillation", ECCV 2020,
https://arxiv.org/abs/2008.01458.
"""

import math

from keras import ops

# float32 ends at exp(88.7).
_LARGEST = 88.0


def adaptive_weight(log_variance, epsilon=1e-6):
    """How much a distance of this uncertainty weighs: `1 / (epsilon + exp(s))`.

    Args:
        log_variance: Tensor s of any shape.
        epsilon: Float >= 0, beside the variance and not inside its logarithm.

    Returns:
        Float32 tensor of the same shape, in [0, 1 / epsilon]; with `epsilon=0` at
        most exp(88), where float32 ends.
    """
    return ops.exp(log_weight(log_variance, epsilon))


def adaptive_weighting(distance, log_variance, epsilon=1e-6):
    """Distances weighed by their learned uncertainty: the loss of PAD, unreduced.

        d / (epsilon + exp(s)) + s

    Twice the negative logarithm of a Gaussian likelihood whose log-variance is s,
    without its constants. For a given d > 4 epsilon it is smallest near s = log d,
    where it is 1 + log d: small distances make it negative, without limit, which is
    right. There its gradient by a residual r = sqrt(d) is 2 / r: the hard samples,
    which pull most in a squared error, pull least.

    Value and gradient are finite for every s, and for d up to 1e38 * epsilon. (The
    quotient as it stands, differentiated, has exp(s) ** 2, which overflows at s = 44.)

    Args:
        distance: Tensor d >= 0, any shape.
        log_variance: Tensor s that broadcasts to the shape of `distance`.
        epsilon: Float >= 0, keeps weights below 1 / epsilon.

    Returns:
        Float32 tensor of the shape of `distance`.

    Raises:
        ValueError: If `log_variance` has more axes than `distance`: `(batch,)` with
            `(batch, 1)` would give `(batch, batch)`.

    References:
        Zhang et al., ECCV 2020, https://arxiv.org/abs/2008.01458, as the released
        training code computes it: log-variance with factor 1, epsilon in the
        denominator.
    """
    distance = ops.cast(ops.convert_to_tensor(distance), "float32")
    log_variance = ops.cast(ops.convert_to_tensor(log_variance), "float32")
    if len(log_variance.shape) > len(distance.shape):
        raise ValueError(
            "`log_variance` must have no more axes than `distance`. Received: "
            f"log_variance.shape={log_variance.shape}, distance.shape={distance.shape}"
        )
    return distance * adaptive_weight(log_variance, epsilon) + log_variance


def log_weight(log_variance, epsilon):
    """Logarithm of `adaptive_weight`, good also where that rounds to 0."""
    log_variance = ops.cast(ops.convert_to_tensor(log_variance), "float32")
    if epsilon == 0:
        return ops.minimum(-log_variance, _LARGEST)
    # log(epsilon + exp(s)). Of the two ways to write it, the one whose gradient keeps
    # its digits where exp(s) is far below epsilon.
    bottom = math.log(epsilon)
    return -(bottom + ops.softplus(log_variance - bottom))
