"""Is one of the query's class among the nearest?"""

from keras_distill.metrics.ranking import checked_ks, ranked_matches


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
