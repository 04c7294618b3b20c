"""Choosing triplets: which positive and which negative an anchor is shown."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch


def distance_weighted_probabilities(labels, embeddings, lower_cutoff=0.5):
    """How likely each example is to be drawn as negative of each anchor.

    Random points of the unit sphere in `d` dimensions lie at distance D with density
    `D**(d - 2) * (1 - D**2 / 4)**((d - 3) / 2)`: nearly all at sqrt(2). Weighing by
    the inverse shows anchors negatives of all distances alike.

    Distances are clamped to [lower_cutoff, 2 - 1e-4]: below, so that a few nearest
    (often mislabelled) examples do not take all; above, where antipodes would have
    infinite weight.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)` of unit rows.
        lower_cutoff: Float in (0, 2). Defaults to `0.5`.

    Returns:
        Float32 tensor `(batch, batch)`; row `i` sums to 1 and is 0 on the class of
        `i`. Rows of anchors without negatives are 0.

    References:
        Wu et al., ICCV 2017, https://arxiv.org/abs/1706.07567, section 4; the cut-offs
        are those of the benchmark of Roth et al., https://arxiv.org/abs/2002.08473.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    _, negatives = batch.pair_masks(labels)
    weights = _log_weights(embeddings, lower_cutoff)
    largest = batch.masked_max(weights, negatives)[:, None]
    # Masked before and after exp: exp(0 - max) would be a weight, not none.
    weights = ops.exp(ops.where(negatives, weights - largest, 0.0))
    weights = ops.where(negatives, weights, 0.0)
    return ops.divide_no_nan(weights, ops.sum(weights, axis=1, keepdims=True))


def distance_weighted_triplets(labels, embeddings, seed, lower_cutoff=0.5):
    """Draws one triplet for each example: itself, a positive, a weighted negative.

    The positive is any other example of the class; an example alone in its class is
    its own positive (as in the benchmark), which pushes but does not pull. Shapes are
    static, so this compiles with XLA.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)` of unit rows.
        seed: Integer, or a `keras.random.SeedGenerator` for new draws at each call.
        lower_cutoff: See `distance_weighted_probabilities`.

    Returns:
        Int32 tensor `(batch, 3)` of anchor, positive and negative rows, and a bool
        tensor `(batch,)`: false where the anchor has no negative, and its triplet
        means nothing.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    positives, negatives = batch.pair_masks(labels)
    size = ops.shape(labels)[0]
    rows = ops.arange(size, dtype="int32")
    # The largest of log-weight plus Gumbel noise is a draw from the weights.
    # One noise serves both draws, which look at different columns of a row.
    uniform = keras.random.uniform((size, size), 1e-20, 1.0, seed=seed)
    noise = -ops.log(-ops.log(uniform))
    has_positive = ops.any(positives, axis=1)
    positive = ops.argmax(ops.where(positives, noise, -1e30), axis=1)
    positive = ops.where(has_positive, ops.cast(positive, "int32"), rows)
    weights = _log_weights(embeddings, lower_cutoff) + noise
    negative = ops.argmax(ops.where(negatives, weights, -1e30), axis=1)
    triplets = ops.stack([rows, positive, ops.cast(negative, "int32")], axis=1)
    return triplets, ops.any(negatives, axis=1)


def semi_hard_candidates(labels, embeddings, positives, margin=0.2):
    """Which examples may be the negative of an anchor, given its positive.

    Semi-hard negatives lie behind the positive, but by less than the margin:
    `d(a, p) < d(a, n) < d(a, p) + margin`, in Euclidean (not squared) distance.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`.
        positives: Int tensor `(batch,)`, the row that is the positive of each anchor.
        margin: Positive float. Defaults to `0.2`.

    Returns:
        Bool tensor `(batch, batch)`; a row without a semi-hard negative holds all of
        the anchor's negatives.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    _, negatives = batch.pair_masks(labels)
    distances = similarity.distances(embeddings)
    positives = ops.cast(ops.convert_to_tensor(positives), "int32")[:, None]
    to_positive = ops.take_along_axis(distances, positives, axis=1)
    behind = ops.logical_and(distances > to_positive, distances < to_positive + margin)
    semi_hard = ops.logical_and(negatives, behind)
    return ops.where(ops.any(semi_hard, axis=1, keepdims=True), semi_hard, negatives)


def _log_weights(embeddings, lower_cutoff):
    dim = embeddings.shape[1]
    distances = similarity.distances(ops.stop_gradient(embeddings))
    distances = ops.clip(distances, lower_cutoff, 2.0 - 1e-4)
    return (2.0 - dim) * ops.log(distances) - (dim - 3.0) / 2.0 * ops.log(
        1.0 - ops.square(distances) / 4.0
    )
