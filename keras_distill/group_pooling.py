"""Make one vector of a group of images, the discriminable ones first."""

from keras import ops

from keras_distill import ranges
from keras_distill.similarity import normalize

# Sums and spreads below this count as 0: dividing by subnormal numbers, which some
# kernels flush to 0, would give infinities.
_TINY = 1e-30
# No score is as large; twice it is still a float32.
_HUGE = 1e30


def group_weights(scores, mask=None, rescale_above=2, threshold=0.0, keep=None):
    """How much each element of a group weighs, by its score.

    In groups of more than `rescale_above` elements the scores are stretched to reach
    from 0 to 1, so that the worst element weighs nothing; then they are divided by
    their sum:

        r_i = (s_i - min s) / (max s - min s)
        w_i = r_i / sum r

    DDL, Zhang et al., ECCV 2020, https://arxiv.org/abs/2008.10850; that smaller groups
    keep their raw scores is read in the same team's published code of an earlier
    method (QAN++). The stretch exaggerates: (0.90, 0.90, 0.91) weigh (0, 0, 1).

    * an empty group: all weights 0;
    * one element: 1, whatever its score;
    * scores all equal, or a sum of 0: all chosen elements weigh the same.

    Where weights do not depend on the scores, their gradient is 0.

    Args:
        scores: `(G, N)`, not negative, computed with in float32. Negative scores that
            are not stretched count as 0.
        mask: Boolean `(G, N)`, what is an element, in any place; what is not may hold
            anything, NaN too. `None` if everything is. Defaults to `None`.
        rescale_above: Integer >= 0. Groups of more elements are stretched. Above
            the largest group it turns the stretch off. Defaults to `2`.
        threshold: Float in [0, 1). Of a group that is stretched, only elements
            with r above it weigh anything. Defaults to `0.0`: all but the worst.
        keep: Positive integer, or `None` for all. Only so many of a group, those
            with the best scores, weigh anything; of equal ones the first. The scores
            are stretched over the whole group all the same. Defaults to `None`.

    Returns:
        float32 `(G, N)`, not negative; each row sums to 1, or to 0 if it is empty.

    Raises:
        ValueError: If an option is out of its range or the shapes do not agree.
    """
    check_options(rescale_above, threshold, keep)
    return _weights(*_checked(scores, mask), rescale_above, threshold, keep)[0]


def pool_groups(
    features,
    scores,
    mask=None,
    rescale_above=2,
    threshold=0.0,
    keep=None,
    normalize_elements=False,
):
    """The sum of each group's features, weighted by `group_weights`.

    Features of elements that are masked, or not chosen by `threshold` and `keep`, are
    never computed with: they may be NaN or huge, and have gradient 0.

    Args:
        features: `(G, N, D)`, computed with in float32.
        scores, mask, rescale_above, threshold, keep: See `group_weights`.
        normalize_elements: Whether features are brought to length 1 first, so that
            their length does not weigh. Defaults to `False`.

    Returns:
        float32 `(G, D)`, not normalised. Zeros for an empty group.

    Raises:
        ValueError: As `group_weights`.
    """
    check_options(rescale_above, threshold, keep)
    features = ops.cast(ops.convert_to_tensor(features), "float32")
    scores, mask = _checked(scores, mask)
    if len(features.shape) != 3 or _differ(features.shape[:2], scores.shape):
        raise ValueError(
            "`features` must have shape (G, N, D), and `scores` (G, N). Received: "
            f"features.shape={features.shape}, scores.shape={scores.shape}"
        )
    weights, chosen = _weights(scores, mask, rescale_above, threshold, keep)
    # Before the multiplication: 0 * NaN is NaN, in the value or in the gradient.
    features = ops.where(ops.expand_dims(chosen, -1), features, 0.0)
    if normalize_elements:
        features = normalize(features)
    # No matmul: in TF32 it would round features to 10 bits.
    return ops.sum(ops.expand_dims(weights, -1) * features, axis=1)


def group_ranks(scores, mask=None):
    """The place of each element in its group, by its score.

    Args:
        scores: `(G, N)`.
        mask: As for `group_weights`.

    Returns:
        int32 `(G, N)`: 0 for the best, each number once a row. Of equal scores the
        first is better; what is masked comes last.

    Raises:
        ValueError: If the shapes are not these.
    """
    return _ranks(*_checked(scores, mask))


def check_options(rescale_above, threshold, keep):
    """Raises ValueError unless each option is one that `group_weights` takes."""
    ranges.count(0, rescale_above=rescale_above)
    if not 0 <= threshold < 1:
        raise ValueError(
            "`threshold` must lie in [0, 1): the best element of a group has 1, and "
            f"must be above it. Received: threshold={threshold}"
        )
    if keep is not None:
        ranges.count(1, keep=keep)


def _weights(scores, mask, rescale_above, threshold, keep):
    """The weights, and which elements may have any."""
    highest = ops.max(
        ops.where(mask, scores, -_HUGE), axis=1, keepdims=True, initial=-_HUGE
    )
    lowest = ops.min(
        ops.where(mask, scores, _HUGE), axis=1, keepdims=True, initial=_HUGE
    )
    # Both branches of a `where` are differentiated: the unused one must be finite.
    is_spread = highest - lowest > _TINY
    spread = ops.where(is_spread, highest - lowest, 1.0)
    stretched = ops.where(is_spread, (scores - lowest) / spread, 1.0)
    is_stretched = _count(mask) > rescale_above
    values = ops.where(is_stretched, stretched, ops.maximum(scores, 0.0))

    passed = ops.logical_or(ops.logical_not(is_stretched), stretched > threshold)
    chosen = ops.logical_and(mask, passed)
    if keep is not None:
        chosen = ops.logical_and(chosen, _ranks(scores, mask) < keep)
    values = ops.where(chosen, values, 0.0)
    total = ops.sum(values, axis=1, keepdims=True)
    has_weight = total > _TINY
    shares = values / ops.where(has_weight, total, 1.0)
    equal = ops.cast(chosen, "float32") / ops.maximum(_count(chosen), 1.0)
    return ops.where(has_weight, shares, equal), chosen


def _ranks(scores, mask):
    scores = ops.where(mask, scores, -_HUGE)
    mine, other = ops.expand_dims(scores, 2), ops.expand_dims(scores, 1)
    place = ops.arange(ops.shape(scores)[1])
    earlier = ops.expand_dims(place, 0) < ops.expand_dims(place, 1)
    # By pairs: how a sort orders equal scores is a matter of the runtime.
    is_better = ops.logical_or(
        other > mine, ops.logical_and(ops.equal(other, mine), earlier)
    )  # (G, N, N)
    return ops.sum(ops.cast(is_better, "int32"), axis=2)


def _count(mask):
    return ops.sum(ops.cast(mask, "float32"), axis=1, keepdims=True)  # (G, 1)


def _checked(scores, mask):
    """Scores in float32, 0 where there is no element, and a mask."""
    scores = ops.cast(ops.convert_to_tensor(scores), "float32")
    if mask is None:
        mask = ops.ones_like(scores, dtype="bool")
    mask = ops.cast(ops.convert_to_tensor(mask), "bool")
    if len(scores.shape) != 2 or _differ(mask.shape, scores.shape):
        raise ValueError(
            "`scores` must have shape (G, N), and `mask` the same. "
            f"Received: scores.shape={scores.shape}, mask.shape={mask.shape}"
        )
    return ops.where(mask, scores, 0.0), mask


def _differ(one, other):
    sizes = zip(one, other, strict=False)
    return len(one) != len(other) or any(None not in s and s[0] != s[1] for s in sizes)
