"""Which neighbours are of the query's class: what every retrieval metric counts."""

import numpy as np

from keras_distill.retrieval.exact_search import search_in_blocks


def ranked_matches(
    embeddings,
    labels,
    ks=(),
    to_r=False,
    metric="cosine",
    query_embeddings=None,
    query_labels=None,
):
    """Searches once, as deep as the metrics need, block by block of queries.

    Args:
        embeddings: Array `(N, D)`, the gallery.
        labels: Array `(N,)` or `(N, 1)`, its classes.
        ks: Depths needed of every query; cut to the rows there are to find.
        to_r: Whether each query also needs depth R, the number of gallery rows of
            its class.
        metric: `"cosine"` or `"euclidean"`.
        query_embeddings, query_labels: Arrays `(Q, D)` and `(Q,)`. Without them
            the gallery's rows are the queries, and none finds itself.

    Yields:
        `matches (B, k)` bool, nearest first; and `relevant (B,)` int, the R of
        each query, which does not count the query itself.

    Raises:
        ValueError: If labels do not fit the embeddings, or one of the query
            arguments is missing, or as `exact_search` does.
    """
    if (query_embeddings is None) != (query_labels is None):
        raise ValueError(
            "`query_embeddings` and `query_labels` come together. Received: "
            f"query_embeddings {'is' if query_embeddings is None else 'is not'} "
            f"None, query_labels {'is' if query_labels is None else 'is not'} None"
        )
    embeddings, labels = np.asarray(embeddings), checked_labels(labels, "labels")
    _check_lengths(embeddings, labels, "embeddings", "labels")
    own = None
    if query_embeddings is None:
        query_embeddings, query_labels = embeddings, labels
        own = np.arange(len(labels))
        if len(labels) < 2:
            raise ValueError(
                "A gallery that is its own queries needs at least 2 rows. "
                f"Received: embeddings.shape={embeddings.shape}"
            )
    else:
        query_embeddings = np.asarray(query_embeddings)
        query_labels = checked_labels(query_labels, "query_labels")
        _check_lengths(
            query_embeddings, query_labels, "query_embeddings", "query_labels"
        )
    relevant = class_sizes(labels, query_labels) - (own is not None)
    depths = np.full(len(query_labels), max(ks, default=1))
    if to_r:
        depths = np.maximum(depths, relevant)
    depths = np.minimum(depths, len(labels) - (own is not None))
    for rows, _, indices in search_in_blocks(
        query_embeddings, embeddings, depths, metric, own
    ):
        yield labels[indices] == query_labels[rows, None], relevant[rows]


def class_sizes(labels, of):
    """How often each of `of (Q,)` occurs in `labels (N,)`: int `(Q,)`."""
    classes, counts = np.unique(labels, return_counts=True)
    at = np.minimum(np.searchsorted(classes, of), len(classes) - 1)
    return np.where(classes[at] == of, counts[at], 0)


def checked_labels(labels, name):
    """`(N,)` or `(N, 1)` to `(N,)`."""
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"`{name}` must have shape (N,), N above 0. "
            f"Received: {name}.shape={labels.shape}"
        )
    return labels


def checked_ks(ks):
    ks = tuple(ks)
    if not ks or any(isinstance(k, bool) or int(k) != k or k < 1 for k in ks):
        raise ValueError(f"`k` must be a positive integer. Received: k={ks}")
    return tuple(int(k) for k in ks)


def _check_lengths(embeddings, labels, name, labels_name):
    if len(embeddings) != len(labels):
        raise ValueError(
            f"`{name}` and `{labels_name}` must have the same length. Received: "
            f"{name}.shape={embeddings.shape}, {labels_name}.shape={labels.shape}"
        )
