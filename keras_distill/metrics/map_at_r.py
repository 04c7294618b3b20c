"""How well the whole class of a query comes first."""

import numpy as np

from keras_distill.metrics.ranking import ranked_matches


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
