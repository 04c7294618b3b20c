"""A few anchors or proposals of an image to learn from, always as many."""

from keras import ops

from keras_distill.detection.matching import NEGATIVE, POSITIVE


def sample(state, count, positive_share, numbers):
    """Chooses `count` at random, at most a share of them positive.

    Positives up to `positive_share * count`, negatives for the rest. Where there are
    fewer than that, places are left over, which the mask says: shapes never depend on
    the data. Ren et al., NeurIPS 2015, https://arxiv.org/abs/1506.01497, section 3.1.3.

    Args:
        state: `(B, A)` integers, see `match`; what is neither positive nor negative is
            never chosen.
        count: Positive integer, at most A.
        positive_share: Float in [0, 1].
        numbers: `(B, A)` floats in [0, 1), random: the order in which they are chosen,
            highest first.

    Returns:
        `(places, mask)`: int32 `(B, count)`, places among the A, all different; and
        bool `(B, count)`, which of them are meant.
    """
    most = int(positive_share * count)
    positive, negative = state == POSITIVE, state == NEGATIVE
    numbers = ops.cast(numbers, "float32")
    if most > 0:
        ranked = ops.where(positive, numbers, -1.0)
        least = ops.top_k(ranked, min(most, count))[0][:, -1:]
        chosen = positive & (numbers >= least)
    else:
        chosen = ops.zeros_like(positive)
    keys = numbers + ops.where(chosen, 2.0, ops.where(negative, 1.0, 0.0))
    keys, places = ops.top_k(keys, count)
    return ops.cast(places, "int32"), keys >= 1.0
