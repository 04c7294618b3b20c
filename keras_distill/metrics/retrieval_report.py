"""All retrieval metrics of an embedding, from one search."""

import numpy as np

from keras_distill.metrics.k_means import k_means
from keras_distill.metrics.map_at_r import average_precision_at_r, mean_of_queries
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
