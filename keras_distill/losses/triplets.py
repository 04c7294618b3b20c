"""The triplet loss of given triplets, and of all triplets of a batch."""

from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch


def triplet_loss(embeddings, triplets, margin=0.2, distance="squared-L2"):
    """`max(0, d(a, p) - d(a, n) + margin)` of each given triplet.

    The mean over triplets, those with loss 0 included, is what the benchmark of Roth
    et al. (https://arxiv.org/abs/2002.08473) trains on, with squared distances and
    one semi-hard triplet for each example (`semi_hard_candidates`).

    Args:
        embeddings: Float tensor `(batch, dim)`.
        triplets: Int tensor `(triplets, 3)`, rows of anchor, positive and negative.
        margin: Float. Defaults to `0.2`.
        distance: `"L2"`, `"squared-L2"` or `"angular"`. Defaults to `"squared-L2"`.

    Returns:
        Float32 tensor `(triplets,)`.

    Raises:
        ValueError: If `distance` is unknown or a shape is not as above.
    """
    similarity.check_metric(distance, "distance")
    embeddings = ops.cast(ops.convert_to_tensor(embeddings), "float32")
    anchor, positive, negative = (
        batch.gather(embeddings, rows)
        for rows in ops.unstack(batch.read_triplets(triplets), 3, axis=1)
    )
    to_positive = _row_distances(anchor, positive, distance)
    to_negative = _row_distances(anchor, negative, distance)
    return ops.relu(to_positive - to_negative + margin)


def all_triplets_loss(labels, embeddings, margin=0.05, distance="L2", semi_hard=False):
    """The triplet loss over all triplets of a batch, averaged over those above 0.

    That is the triplet loss of pytorch-metric-learning, and with `semi_hard` the one
    with its semi-hard miner: only triplets with `0 < d(a, n) - d(a, p) <= margin`.
    Takes (batch, batch, batch) floats of memory: 6 MB at 112 examples, 68 MB at 256.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        margin: Float. Defaults to `0.05`.
        distance: `"L2"`, `"squared-L2"` or `"angular"`. Defaults to `"L2"`.
        semi_hard: Bool, see above. Defaults to `False`.

    Returns:
        Float32 tensor `(batch,)`, each anchor's triplets, scaled so that the plain mean
        is the mean over triplets with loss above 0; all 0 if there is none.

    Raises:
        ValueError: If `distance` is unknown.
    """
    similarity.check_metric(distance, "distance")
    labels, embeddings = batch.read_batch(labels, embeddings)
    distances = similarity.distances(embeddings, metric=distance)
    positives, negatives = batch.pair_masks(labels)
    gaps = distances[:, None, :] - distances[:, :, None]  # (anchor, positive, negative)
    chosen = ops.logical_and(positives[:, :, None], negatives[:, None, :])
    if semi_hard:
        chosen = ops.logical_and(chosen, gaps > 0.0)  # the hinge is the other bound
    losses = ops.where(chosen, ops.relu(margin - gaps), 0.0)
    return batch.mean_rows(ops.sum(losses, axis=(1, 2)), batch.count(losses > 0.0))


def _row_distances(a, b, metric):
    if metric == "angular":
        cosines = ops.sum(similarity.normalize(a) * similarity.normalize(b), axis=1)
        return ops.maximum(1.0 - cosines, 0.0)
    squared = ops.sum(ops.square(a - b), axis=1)
    return squared if metric == "squared-L2" else similarity.safe_sqrt(squared)
