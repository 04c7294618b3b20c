"""Means over seeds and how far they can be trusted."""

import math
import typing

CONFIDENCE = 0.95

# Figures are stored to 1e-6: two differences of the same true size may lie that far
# apart, and half the width of their interval is then 12.7 * 1e-6 / 2. More seeds make
# it smaller.
NO_SPREAD = 1e-5


class Estimate(typing.NamedTuple):
    """A mean with its interval.

    Attributes:
        mean: Float.
        half: Half the width of the 95 % t-interval around it; `None` of one value,
            from which nothing about spread can be known.
        count: How many values there were.
    """

    mean: float
    half: float | None
    count: int

    @property
    def low(self):
        """Lower end of the interval, minus infinity of one value."""
        return -math.inf if self.half is None else self.mean - self.half

    @property
    def high(self):
        """Upper end of the interval, infinity of one value."""
        return math.inf if self.half is None else self.mean + self.half

    @property
    def decided(self):
        """Whether the interval leaves 0 out.

        Never of values that are all equal but for rounding: retrieval counts hits, two
        seeds may well agree, and no spread has then been seen.
        """
        spread = self.half is not None and self.half > NO_SPREAD
        return spread and not self.low <= 0 <= self.high


def estimate(values):
    """Mean and t-interval of independent values.

        mean +- t(0.975, n - 1) * s / sqrt(n),  s with n - 1 below the sum

    Args:
        values: Floats, one or more.

    Returns:
        `Estimate`; `None` of no values.
    """
    from scipy.special import stdtrit

    values = list(values)
    count = len(values)
    if not count:
        return None
    mean = math.fsum(values) / count
    if count == 1:
        return Estimate(mean, None, 1)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    quantile = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    return Estimate(mean, quantile * math.sqrt(variance / count), count)


def differences(values, baseline):
    """What each seed gains over the baseline's run of the same seed.

    A seed gives both the same initial student and the same batches, so that what
    they share drops out of the difference.

    Args:
        values: Dictionary from seeds to figures.
        baseline: The same of the baseline.

    Returns:
        Dictionary from the seeds that both have to `values - baseline`.
    """
    return {
        seed: value - baseline[seed]
        for seed, value in values.items()
        if seed in baseline
    }
