"""Vectors with their classes, as metrics are given them."""

from keras_distill.metrics.ranking import checked_labels
from keras_distill.retrieval import exact_rows


def labelled_rows(rows, labels, name, labels_name):
    """`rows (N, D)` and `labels (N,)` as arrays that fit each other.

    Args:
        rows: Array `(N, D)`.
        labels: Array `(N,)` or `(N, 1)`.
        name, labels_name: What the caller calls them.

    Raises:
        ValueError: If shapes do not fit or a row is not finite.
    """
    rows = exact_rows.matrix(rows, name)
    exact_rows.check(rows, name, "cosine")
    labels = checked_labels(labels, labels_name)
    if len(rows) != len(labels):
        raise ValueError(
            f"`{name}` and `{labels_name}` must have the same length. Received: "
            f"{name}.shape={rows.shape}, {labels_name}.shape={labels.shape}"
        )
    return rows, labels


def check_same_width(first, second, names):
    """Refuses two arrays of rows of different width; `names` are for the error."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"`{names[0]}` and `{names[1]}` must have the same width. Received: "
            f"{names[0]}.shape={first.shape}, {names[1]}.shape={second.shape}"
        )
