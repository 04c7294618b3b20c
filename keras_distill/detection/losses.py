"""Losses of detectors, value by value."""

from keras import ops


def sigmoid_focal(logits, targets, alpha=0.25, gamma=2.0):
    """Cross-entropy of probabilities in which what is known already counts little.

        alpha_t * (1 - p_t)^gamma * -log(p_t)

    with p_t the probability given to the truth, and alpha_t alpha for what is 1 and
    1 - alpha for what is 0. Lin et al., ICCV 2017, https://arxiv.org/abs/1708.02002,
    equation 5.

    Args:
        logits: Tensor of any shape.
        targets: 0 and 1, of that shape.
        alpha: Float in [0, 1].
        gamma: Float >= 0.

    Returns:
        float32, that shape, >= 0.
    """
    logits, targets = ops.cast(logits, "float32"), ops.cast(targets, "float32")
    signed = ops.where(targets > 0, logits, -logits)
    share = ops.where(targets > 0, alpha, 1 - alpha)
    # -log sigmoid(x) = softplus(-x): exact where sigmoid has become 1. The power is one
    # of the exponential, too: the slope of 0^gamma is no number for gamma below 1.
    focus = ops.exp(-gamma * ops.softplus(signed))
    return share * focus * ops.softplus(-signed)


def smooth_l1(errors, threshold=1.0):
    """Square below a threshold, linear above, with equal slopes.

        0.5 e^2 / threshold where |e| < threshold, else |e| - 0.5 threshold

    Girshick, ICCV 2015, https://arxiv.org/abs/1504.08083, equation 3, which has
    threshold 1.

    Args:
        errors: Tensor of any shape.
        threshold: Float > 0.

    Returns:
        float32, that shape, >= 0.
    """
    size = ops.abs(ops.cast(errors, "float32"))
    square = 0.5 * size**2 / threshold
    return ops.where(size < threshold, square, size - 0.5 * threshold)
