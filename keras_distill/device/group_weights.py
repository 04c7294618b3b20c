"""How much each image of a group weighs, by its score, with numpy."""

import numpy as np

# Sums and spreads below this count as 0, as they do where the scores were learnt.
_TINY = 1e-30


def group_weights(scores, rescale_above=2, threshold=0.0, keep=None):
    """The weights by which the embeddings of a group are averaged.

    The same as `keras_distill.group_pooling.group_weights`, which says why,
    for one group: scores of more than `rescale_above` images are stretched to reach
    from 0 to 1, then all are divided by their sum. One image weighs 1 whatever its
    score; scores that are all equal, or have a sum of 0, give equal weights.

    Args:
        scores: Array `(count,)`, not negative; computed with in float32.
        rescale_above: Integer >= 0. Larger groups are stretched. Defaults to `2`.
        threshold: Float in [0, 1). Where scores are stretched, those that are not
            above it weigh nothing. Defaults to `0.0`: all but the worst.
        keep: Positive integer: only so many images weigh anything, those with the
            best scores, of equal ones the first; `None` for all. Defaults to `None`.

    Returns:
        float32 array `(count,)`, not negative, with a sum of 1; empty for an empty
        group.

    Raises:
        ValueError: If an argument is not as described, or a score is not finite.
    """
    scores = np.asarray(scores, np.float32)
    _check(scores, rescale_above, threshold, keep)
    if not len(scores):
        return scores
    values, chosen = np.maximum(scores, 0), np.ones(len(scores), bool)
    if len(scores) > rescale_above:
        low, high = scores.min(), scores.max()
        values = np.ones_like(scores)
        if high - low > _TINY:
            values = (scores - low) / (high - low)
        chosen = values > threshold
    if keep is not None:
        best = np.argsort(-scores, kind="stable")[:keep]
        chosen &= np.isin(np.arange(len(scores)), best)
    values = np.where(chosen, values, np.float32(0))
    if values.sum() <= _TINY:
        values = chosen.astype(np.float32)
    return values / values.sum()


def _check(scores, rescale_above, threshold, keep):
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(
            "`scores` must be finite and have shape (count,). "
            f"Received: scores={scores}"
        )
    if not _is_count(rescale_above, 0):
        raise ValueError(
            "`rescale_above` must be an integer that is not negative. "
            f"Received: rescale_above={rescale_above!r}"
        )
    if not 0 <= threshold < 1:
        raise ValueError(
            f"`threshold` must lie in [0, 1). Received: threshold={threshold!r}"
        )
    if keep is not None and not _is_count(keep, 1):
        raise ValueError(
            "`keep` must be a positive integer, or None for all. "
            f"Received: keep={keep!r}"
        )


def _is_count(value, least):
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
