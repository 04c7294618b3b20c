"""Verification: how many genuine pairs pass where few impostors do."""

import numpy as np


def tar_at_far(genuine, impostor, far: float):
    """True accept rate at a false accept rate.

    The rate of the genuine pairs that reach `threshold_at_far`. The rule is
    conservative: the false accept rate is never above `far`, and nothing is
    interpolated. With fewer than `1 / far` impostor pairs none may pass, so state
    the number of pairs with the figure.

    Args:
        genuine: Array `(P,)`, similarities (higher is more alike) of pairs of the
            same class.
        impostor: Array `(M,)`, similarities of pairs of different classes.
        far: The false accept rate allowed, in [0, 1].

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: If an input is empty, not of rank 1 or not finite, or `far` is
            not in [0, 1].
    """
    threshold = threshold_at_far(genuine, impostor, far)
    return float(np.mean(np.asarray(genuine, np.float64) >= threshold))


def threshold_at_far(genuine, impostor, far: float):
    """The smallest observed score that lets at most `far` of the impostors pass.

    A pair passes if its similarity is equal or above. Where no observed score is
    strict enough it is infinite, and nothing passes.

    Args:
        genuine, impostor, far: See `tar_at_far`.

    Returns:
        Float.

    Raises:
        ValueError: See `tar_at_far`.
    """
    genuine, impostor = _checked(genuine, "genuine"), _checked(impostor, "impostor")
    if not 0 <= far <= 1:
        raise ValueError(f"`far` must be in [0, 1]. Received: far={far}")
    candidates = np.append(np.unique(np.concatenate([genuine, impostor])), np.inf)
    below = np.searchsorted(np.sort(impostor), candidates, side="left")
    rates = (len(impostor) - below) / len(impostor)
    return float(candidates[np.argmax(rates <= far)])


def _checked(scores, name):
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise ValueError(
            f"`{name}` must be finite and have shape (pairs,), not empty. "
            f"Received: {name}.shape={scores.shape}"
        )
    return scores
