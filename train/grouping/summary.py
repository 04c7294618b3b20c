"""What the folds say together."""

from train.comparison.measure import Measure
from train.comparison.statistics import differences, estimate
from train.grouping import protocol
from train.grouping.poolings import BASELINE, BEST


def measures(pairs):
    """The figures, the first of them first: a dictionary from names to `Measure`.

    Args:
        pairs: Dictionary with the number of `impostor` pairs of a draw.
    """
    first = protocol.headline(pairs["impostor"])
    rates = sorted(protocol.fars(pairs["impostor"]), key=lambda far: far != first)
    named = {f"tar_at_far_{far:g}": Measure(f"TAR@FAR={far:g}") for far in rates}
    return named | {f"rank_{k}": Measure(f"rank-{k}") for k in protocol.RANKS}


class Summary:
    """Figures over folds: a fold is one value, the mean of its draws.

    Draws of a fold share embedder, scorer and classes: they are no evidence about
    others of these, however many they are.

    Args:
        folds: List of dictionaries as `evaluation.evaluate` returns them.

    Attributes:
        folds: As above.
        measures: See `measures`. The first is the headline.
        poolings: Names of the poolings that every fold has.
        ks: Integers, how many members were kept.
    """

    def __init__(self, folds):
        self.folds = folds
        fewest = min((fold["pairs"] for fold in folds), key=lambda p: p["impostor"])
        self.measures = measures(fewest)
        self.poolings = [
            name
            for name in folds[0]["figures"]
            if all(name in fold["figures"] for fold in folds)
        ]
        self.ks = [int(k) for k in folds[0]["kept"]["best"]]

    @property
    def headline(self):
        """Name of the first measure."""
        return next(iter(self.measures))

    def value(self, pooling, measure):
        """`Estimate` of a pooling's figure."""
        return estimate(self._figures(pooling, measure).values())

    def gain(self, pooling, measure):
        """`Estimate` of the paired difference to mean pooling."""
        return self._gain(self._figures(pooling, measure), measure)

    def share(self, pooling, measure):
        """The mean gain as a share of the oracle's; `None` where that has none."""
        whole = self.gain(BEST, measure).mean
        return self.gain(pooling, measure).mean / whole if whole > 0 else None

    def kept(self, how, k, measure):
        """`Estimate` of the figure with k members, by `"best"` or `"random"`."""
        return estimate(self._kept(how, k, measure).values())

    def kept_gain(self, how, k, measure):
        """`Estimate` of its paired difference to mean pooling of all members."""
        return self._gain(self._kept(how, k, measure), measure)

    def correlation(self):
        """`Estimate` of Spearman's correlation of scores and true indicators."""
        return estimate(fold["correlation"] for fold in self.folds)

    def as_json(self):
        """All of it as a dictionary."""
        return {
            "correlation": _plain(self.correlation()),
            "poolings": {
                name: {
                    measure: {
                        **_plain(self.value(name, measure)),
                        "against_mean": _plain(self.gain(name, measure)),
                        "of_the_oracles_gain": self.share(name, measure),
                    }
                    for measure in self.measures
                }
                for name in self.poolings
            },
            "kept": {
                how: {
                    str(k): {
                        measure: {
                            **_plain(self.kept(how, k, measure)),
                            "against_mean": _plain(self.kept_gain(how, k, measure)),
                        }
                        for measure in self.measures
                    }
                    for k in self.ks
                }
                for how in ("best", "random")
            },
        }

    def _figures(self, pooling, measure):
        return {
            number: fold["figures"][pooling][measure]
            for number, fold in enumerate(self.folds)
        }

    def _kept(self, how, k, measure):
        return {
            number: fold["kept"][how][str(k)][measure]
            for number, fold in enumerate(self.folds)
        }

    def _gain(self, figures, measure):
        return estimate(differences(figures, self._figures(BASELINE, measure)).values())


def _plain(value):
    return {"mean": value.mean, "half": value.half, "count": value.count}
