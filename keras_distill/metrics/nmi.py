"""How much a clustering and the classes tell of each other."""

import numpy as np

from keras_distill.metrics.ranking import checked_labels


def nmi(labels, clusters):
    """Normalised mutual information, by the arithmetic mean of the entropies.

    `2 * I(labels; clusters) / (H(labels) + H(clusters))`, natural logarithms
    (which cancel). Renaming either side changes nothing. Where both sides are one
    single group, and neither has entropy, they agree: 1.

    Args:
        labels: Array `(N,)`, any values that can be told apart.
        clusters: Array `(N,)`.

    Returns:
        Float in [0, 1]: 1 where one is a renaming of the other, 0 where they are
        independent.

    Raises:
        ValueError: If an input is empty or not of rank 1, or the lengths differ.
    """
    labels = checked_labels(labels, "labels")
    clusters = checked_labels(clusters, "clusters")
    if len(labels) != len(clusters):
        raise ValueError(
            "`labels` and `clusters` must have the same length. Received: "
            f"labels.shape={labels.shape}, clusters.shape={clusters.shape}"
        )
    first = np.unique(labels, return_inverse=True)[1]
    second = np.unique(clusters, return_inverse=True)[1]
    # Only the cells that occur: classes times clusters may be millions.
    cells = np.unique(first * (second.max() + 1) + second, return_counts=True)[1]
    h_first, h_second = _entropy(np.bincount(first)), _entropy(np.bincount(second))
    if h_first + h_second == 0:
        return 1.0
    mutual = h_first + h_second - _entropy(cells)
    return float(np.clip(2 * mutual / (h_first + h_second), 0.0, 1.0))


def _entropy(counts):
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())
