"""Folds as `evaluation.evaluate` returns them, of figures that are made up."""

import numpy as np

from train.grouping.poolings import ABOUT

KEYS = ("tar_at_far_0.01", "tar_at_far_0.1", "rank_1", "rank_5")


def fold(number, size=5, impostor=380):
    rng = np.random.default_rng(number)

    def figures(level):
        return {key: float(level + rng.normal(0, 0.01)) for key in KEYS}

    return {
        "fold": number + 1,
        "seed": number,
        "classes": {"proxy": 20, "unseen": 20},
        "images": {"proxy": 200, "unseen": 200},
        "classes_too_small": 0,
        "figures": {name: figures(0.5 + 0.05 * n) for n, name in enumerate(ABOUT)},
        "kept": {
            how: {str(k): figures(0.4 + 0.02 * k) for k in range(1, size + 1)}
            for how in ("best", "random")
        },
        "pairs": {"genuine": 20, "impostor": impostor},
        "correlation": 0.6 + 0.01 * number,
        "seconds": 1.0,
    }


def folds(count, **how):
    return [fold(number, **how) for number in range(count)]
