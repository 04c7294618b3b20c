"""Figures that say what a learned uncertainty does: how evenly, and how rightly."""

import math

from keras import ops

from keras_distill.methods.teacher_term import row_means


def uncertainty_figures(distance, log_variance, log_weights, width=1, mask=None):
    """Scalars to be logged of a batch: sample weights do not apply to them.

    Args:
        distance: Float32 `(batch,)`, the mean distance of each image.
        log_variance: Float32 `(batch, ...)`, or `(batch, ..., width)`.
        log_weights: The same shape, logarithms of what distances are multiplied by.
        width: Integer, how many log-variances a sample has.
        mask: `None`, or booleans `(batch, ...)`, or `(batch, ..., 1)`: which samples
            there are.

    Returns:
        Dictionary of float32 scalars: `"log_variance"` and `"weight"`, means;
        `"effective_sample_size"`; and `"rank_correlation"`, of an image's mean
        log-variance with its distance.
    """
    samples = None if mask is None else ops.reshape(mask, (-1, 1))
    images = None
    if mask is not None and len(mask.shape) > 1:
        images = ops.any(mask, axis=tuple(range(1, len(mask.shape))))
    return {
        "log_variance": masked_mean(log_variance, mask),
        "weight": masked_mean(ops.exp(log_weights), mask),
        "effective_sample_size": effective_sample_size(
            ops.reshape(log_weights, (-1, width)), samples
        ),
        "rank_correlation": rank_correlation(
            row_means(log_variance, mask), distance, images
        ),
    }


def effective_sample_size(log_weights, mask=None):
    """How many samples of equal weight would weigh as evenly: (sum w)^2 / sum w^2.

    Args:
        log_weights: Float32 tensor `(samples, columns)`.
        mask: `None`, or booleans `(samples, 1)`: which samples there are.

    Returns:
        Float32 scalar, the mean over the columns; in [1, samples], 0 without any.
    """
    if mask is not None:
        log_weights = ops.where(mask, log_weights, -math.inf)
    # Beside the largest of a column nothing overflows. Where all are masked, any do.
    largest = ops.max(log_weights, axis=0)
    largest = ops.where(ops.isfinite(largest), largest, 0.0)
    weights = ops.exp(log_weights - largest)
    squares = ops.sum(ops.square(weights), axis=0)
    sizes = ops.square(ops.sum(weights, axis=0)) / ops.maximum(squares, 1e-30)
    return ops.mean(sizes)


def rank_correlation(a, b, mask=None):
    """Spearman's rank correlation. Equal values share the mean of their ranks.

    Args:
        a: Float32 tensor `(batch,)`.
        b: Float32 tensor `(batch,)`.
        mask: `None`, or booleans `(batch,)`: which pairs count.

    Returns:
        Float32 scalar in [-1, 1]; 0 where all of `a`, or of `b`, are equal.
    """
    counted = ops.ones_like(a) if mask is None else ops.cast(mask, "float32")
    a, b = _centred_ranks(a, counted), _centred_ranks(b, counted)
    spread = ops.sqrt(ops.sum(a * a)) * ops.sqrt(ops.sum(b * b))
    return ops.sum(a * b) / ops.where(spread > 0, spread, 1.0)


def masked_mean(values, mask):
    """Mean of all that the mask lets through, 0 of nothing."""
    if mask is None:
        return ops.mean(values)
    return ops.squeeze(row_means(values[None], mask[None]), 0)


def _centred_ranks(values, counted):
    """Ranks less their mean; 0 where `counted` is. Sorting alone would break ties."""
    rows, columns = ops.expand_dims(values, 1), ops.expand_dims(values, 0)
    below = ops.cast(columns < rows, "float32")
    below = below + 0.5 * ops.cast(columns == rows, "float32")
    ranks = ops.sum(below * counted, axis=1)
    mean = ops.sum(ranks * counted) / ops.maximum(ops.sum(counted), 1.0)
    return (ranks - mean) * counted
