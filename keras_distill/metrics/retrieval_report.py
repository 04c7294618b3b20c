"""All retrieval metrics of an embedding, from one search."""

import numpy as np

from keras_distill.metrics.k_means import k_means
from keras_distill.metrics.nmi import nmi as normalized_mutual_information
from keras_distill.metrics.ranking import checked_ks, checked_labels, ranked_matches


def retrieval_report(
    embeddings,
    labels,
    ks=(1, 2, 4, 8),
    query_embeddings=None,
    query_labels=None,
    metric="cosine",
    nmi=True,
):
    """Recall@K, MAP@R and NMI of a gallery.

    Args:
        embeddings: Array `(N, D)`.
        labels: Array `(N,)`.
        ks: The K of Recall@K.
        query_embeddings, query_labels: Arrays `(Q, D)` and `(Q,)`, queries that
            are not in the gallery. Without them each row of the gallery is a
            query and never its own answer.
        metric: `"cosine"` or `"euclidean"`.
        nmi: Whether to cluster the gallery (see `k_means`) into as many clusters
            as it has classes, and compare. With `"cosine"` the unit rows are
            clustered. The figure depends on the k-means that made the clusters:
            compare it only with others of this library.

    Returns:
        Dict of floats in [0, 1]: `recall_at_1`, ..., `map_at_r`, and `nmi` if
        asked for. The definitions are those of `recall_at_k`, `map_at_r`, `nmi`.

    Raises:
        ValueError: See `recall_at_k` and `map_at_r`.
    """
    ks = checked_ks(ks)
    hits, queries = np.zeros(len(ks)), 0
    precision, with_relevant = 0.0, 0
    for matches, relevant in ranked_matches(
        embeddings, labels, ks, True, metric, query_embeddings, query_labels
    ):
        hits += [matches[:, :k].any(axis=1).sum() for k in ks]
        queries += len(matches)
        precision += average_precision_at_r(matches, relevant).sum()
        with_relevant += (relevant > 0).sum()
    report = {
        f"recall_at_{k}": float(n / queries) for k, n in zip(ks, hits, strict=True)
    }
    report["map_at_r"] = mean_of_queries(precision, with_relevant)
    if nmi:
        labels = checked_labels(labels, "labels")
        points = np.asarray(embeddings, np.float32)
        if metric == "cosine":
            norms = np.linalg.norm(points, axis=1, keepdims=True)
            points = points / np.where(norms == 0, 1, norms)
        clusters = k_means(points, len(np.unique(labels))).clusters
        report["nmi"] = normalized_mutual_information(labels, clusters)
    return report


def recall_at_k(
    embeddings,
    labels,
    k: int,
    metric="cosine",
    query_embeddings=None,
    query_labels=None,
):
    """The share of queries with one of their class among the `k` nearest.

    All queries count: one whose class has no other member is a miss, as in the
    literature of deep metric learning (Roth et al., ICML 2020). A query is left
    out of its own results by its index, so that a duplicate of it may be found.
    With fewer than `k` rows to find, all of them are looked at.

    Args:
        embeddings: Array `(N, D)`, any scale.
        labels: Array `(N,)` or `(N, 1)`.
        k: Positive integer.
        metric: `"cosine"` or `"euclidean"`; the same ranking for unit rows.
        query_embeddings, query_labels: Arrays `(Q, D)` and `(Q,)`, queries that
            are not in the gallery.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: If shapes do not fit, an embedding is not finite, `k` is not
            positive, or the gallery has one row and is its own queries.
    """
    ks = checked_ks([k])
    hits = queries = 0
    for matches, _ in ranked_matches(
        embeddings, labels, ks, False, metric, query_embeddings, query_labels
    ):
        hits += matches.any(axis=1).sum()
        queries += len(matches)
    return float(hits / queries)


def map_at_r(
    embeddings, labels, metric="cosine", query_embeddings=None, query_labels=None
):
    """Mean average precision at R, R the number of others of the query's class.

    For one query `1 / R * sum over ranks i <= R of precision(i) * match(i)`
    (Musgrave et al., ECCV 2020, https://arxiv.org/abs/2003.08505, section 3.2):
    1 if and only if all of its class come first. Queries with R = 0 are left out,
    where `recall_at_k` counts them as misses.

    Args:
        embeddings, labels, metric, query_embeddings, query_labels: See
            `recall_at_k`.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: As `recall_at_k` does; and if no query has R > 0.
    """
    total, queries = 0.0, 0
    for matches, relevant in ranked_matches(
        embeddings, labels, (), True, metric, query_embeddings, query_labels
    ):
        total += average_precision_at_r(matches, relevant).sum()
        queries += (relevant > 0).sum()
    return mean_of_queries(total, queries)


def r_precision(
    embeddings, labels, metric="cosine", query_embeddings=None, query_labels=None
):
    """The share of the query's class among the first R, averaged over queries.

    R and the queries left out are those of `map_at_r`.

    Args:
        embeddings, labels, metric, query_embeddings, query_labels: See
            `recall_at_k`.

    Returns:
        Float in [0, 1].

    Raises:
        ValueError: See `map_at_r`.
    """
    total, queries = 0.0, 0
    for matches, relevant in ranked_matches(
        embeddings, labels, (), True, metric, query_embeddings, query_labels
    ):
        hits = (matches & _first_r(matches, relevant)).sum(axis=1)
        total += (hits / np.maximum(relevant, 1)).sum()
        queries += (relevant > 0).sum()
    return mean_of_queries(total, queries)


def average_precision_at_r(matches, relevant):
    """`(B,)` values of one query each; 0 where `relevant` is 0."""
    matches = matches & _first_r(matches, relevant)
    ranks = np.arange(1, matches.shape[1] + 1)
    precision = np.cumsum(matches, axis=1) / ranks * matches
    return precision.sum(axis=1) / np.maximum(relevant, 1)


def mean_of_queries(total, queries):
    if not queries:
        raise ValueError(
            "At least one query must have another row of its class to find. "
            "Received: 0 such queries"
        )
    return float(total / queries)


def _first_r(matches, relevant):
    return np.arange(matches.shape[1]) < relevant[:, None]
