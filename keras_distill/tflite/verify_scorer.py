"""Proof that a .tflite scores as the Keras network it came from, on any runtime."""

import numpy as np

from keras_distill.device.scorer import Scorer
from keras_distill.tflite.convert_scorer import (
    SCORE,
    SCORE_SIGNATURE,
    SCORER_MODES,
    check_scorer,
)
from keras_distill.tflite.from_keras import check_images, check_mode, keras_rows
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.structure import STRUCTURE_CHECKS, check_structure
from keras_distill.tflite.verification_error import VerificationError

# In the order they are made. What each holds is in `verify_scorer`.
SCORER_CHECKS = (*STRUCTURE_CHECKS, "finite", "range", "difference", "rank")


def verify_scorer(
    model,
    scorer,
    images,
    mode="float32",
    reference=None,
    max_difference=0.15,
    max_difference_mean=0.02,
    min_rank_correlation=0.98,
    max_ratio=0.45,
    runtime=None,
):
    """Checks a converted scorer, and measures how near it is to the Keras one.

    The checks of the graph are those of `keras_distill.tflite.verify`, with the
    signature of `convert_scorer`; as int8, all operators with weights have to be in
    int8 but the last, which has to be in float. Then, over `images`:

    * `finite`, `range`: scores are numbers, in [0, 1];
    * `difference`: they differ little from the scorer's, on average and at worst;
    * `rank`: they put the images in the same order (Spearman's correlation), for a
      group keeps its best images. Where the scorer gives every image the same
      score there is no order, and nothing to check.

    Args:
        model: Bytes of the .tflite.
        scorer: The `keras.Model` that it was converted from.
        images: uint8 array `(count, height, width, channels)`, images that neither
            trained the scorer nor calibrated the model, good and bad ones.
        mode: `"float32"` or `"int8"`: what the model is meant to be.
        reference: Bytes of the float .tflite, to compare sizes with, or `None`.
        max_difference: Largest difference of any score. Defaults to `0.15`.
        max_difference_mean: Largest mean difference. Defaults to `0.02`.
        min_rank_correlation: Least rank correlation. Defaults to `0.98`.
        max_ratio: Largest size as a part of `reference`'s, where that has at least
            100 kB. Defaults to `0.45`.
        runtime: Interpreter to run it with, see `keras_distill.device.Scorer`.

    Returns:
        Dictionary of what was measured: `bytes`, `operators` (`{name: version}`),
        `images`, `difference_max`, `difference_mean`, `rank_correlation` (`None`
        where there is no order), `score_min`, `score_max`.

    Raises:
        VerificationError: A `ValueError`; its `check` is one of `SCORER_CHECKS`.
        ValueError: If an argument is not as described.
    """
    check_mode(mode, SCORER_MODES)
    images = check_images(images)
    scorer = check_scorer(scorer)
    graph = read_graph(model)
    check_structure(
        model,
        graph,
        scorer,
        SCORE_SIGNATURE,
        SCORE,
        mode,
        reference,
        max_ratio,
        float_head=True,
    )
    scores = Scorer(model, runtime).score(images)
    _check_values(scores)
    figures = compare_scores(scores, keras_rows(scorer, images)[:, 0])
    _check_figures(figures, max_difference, max_difference_mean, min_rank_correlation)
    return {
        "bytes": len(model),
        "operators": graph.newest_versions(),
        "images": len(images),
        **figures,
        "score_min": float(scores.min()),
        "score_max": float(scores.max()),
    }


def compare_scores(scores, expected):
    """How far scores are from those expected, in value and in order.

    Args:
        scores: float32 array `(count,)`.
        expected: float32 array `(count,)`.

    Returns:
        Dictionary `difference_max`, `difference_mean`, `rank_correlation`
        (Spearman's). The last is `None` where all of `expected` are equal, and 0
        where all of `scores` are equal alone.
    """
    from scipy import stats

    differences = np.abs(scores.astype(np.float64) - expected)
    if np.ptp(expected) == 0:
        correlation = None
    elif np.ptp(scores) == 0:
        correlation = 0.0
    else:
        correlation = float(stats.spearmanr(scores, expected).statistic)
    return {
        "difference_max": float(differences.max()),
        "difference_mean": float(differences.mean()),
        "rank_correlation": correlation,
    }


def _check_values(scores):
    broken = int(np.sum(~np.isfinite(scores)))
    if broken:
        raise VerificationError(
            "Scores must be finite. Received: NaN or infinity for "
            f"{broken} of {len(scores)} images",
            "finite",
        )
    low, high = float(scores.min()), float(scores.max())
    if low < 0 or high > 1:
        raise VerificationError(
            "Scores must lie in [0, 1], such as a sigmoid gives. "
            f"Received: scores {low:.4f} to {high:.4f}",
            "range",
        )


def _check_figures(figures, max_difference, max_difference_mean, min_rank_correlation):
    most, mean = figures["difference_max"], figures["difference_mean"]
    if most > max_difference or mean > max_difference_mean:
        raise VerificationError(
            "Scores may differ from the Keras ones by at most "
            f"{max_difference_mean} on average and {max_difference} at worst. "
            f"Received: mean {mean:.5f}, largest {most:.5f}",
            "difference",
        )
    correlation = figures["rank_correlation"]
    if correlation is not None and correlation < min_rank_correlation:
        raise VerificationError(
            "Scores must put the images in the order of the Keras ones, with a rank "
            f"correlation of at least {min_rank_correlation}. "
            f"Received: {correlation:.5f}",
            "rank",
        )
