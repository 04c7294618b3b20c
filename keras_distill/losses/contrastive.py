"""Pull pairs of one class together, push others beyond a margin."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch, mining

FORMS = ("squared", "linear", "sampled")


def contrastive_pairs(is_positive, distances, margin=1.0):
    """`y * d**2 + (1 - y) * max(0, margin - d)**2` of each given pair.

    The value of tensorflow-addons (which takes the mean).

    Args:
        is_positive: Tensor of the shape of `distances`, 1 or true for pairs of one
            class and 0 or false for others.
        distances: Float tensor >= 0, any shape.
        margin: Float, a distance. Defaults to `1.0`.

    Returns:
        Float32 tensor of the shape of `distances`.

    References:
        Hadsell et al., CVPR 2006, Dimensionality Reduction by Learning an Invariant
        Mapping, equation 4 (there with a factor 1/2).
    """
    positive = ops.cast(ops.convert_to_tensor(is_positive), "bool")
    distances = ops.cast(ops.convert_to_tensor(distances), "float32")
    push = ops.square(ops.relu(margin - distances))
    return ops.where(positive, ops.square(distances), push)


def contrastive_loss(
    labels, embeddings, margin=1.0, positive_margin=0.0, form="squared"
):
    """Contrastive loss of all pairs of a batch. See `Contrastive` for the formulas.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers.
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        margin, positive_margin: See `Contrastive`.
        form: `"squared"` or `"linear"`, see `Contrastive`.

    Returns:
        Float32 tensor `(batch,)`; its plain mean is the loss.

    Raises:
        ValueError: If `form` is another.
    """
    batch.check_choice("form", form, ("squared", "linear"))
    labels, embeddings = batch.read_batch(labels, embeddings)
    distances = similarity.distances(embeddings)
    positives, negatives = batch.pair_masks(labels)
    pull = ops.where(positives, ops.relu(distances - positive_margin), 0.0)
    push = ops.where(negatives, ops.relu(margin - distances), 0.0)
    if form == "squared":
        pairs = ops.square(pull) + ops.square(push)
        every = batch.count(ops.logical_or(positives, negatives))
        return batch.mean_rows(ops.sum(pairs, axis=1), every)
    pulls = batch.mean_rows(ops.sum(pull, axis=1), batch.count(pull > 0.0))
    pushes = batch.mean_rows(ops.sum(push, axis=1), batch.count(push > 0.0))
    return pulls + pushes


def contrastive_triplets(embeddings, triplets, margin=1.0, positive_margin=0.0):
    """Linear contrastive loss of the two pairs of each given triplet.

        max(0, d(a, p) - positive_margin) + max(0, margin - d(a, n))

    with `d = |x - z + 1e-6|`, which adds 1e-6 to every coordinate of the difference.
    The mean over triplets, idle ones included, is the loss of the benchmark of Roth
    et al., https://arxiv.org/abs/2002.08473.

    Args:
        embeddings: Float tensor `(batch, dim)`.
        triplets: Int tensor `(triplets, 3)`, rows of anchor, positive and negative.
        margin: Float, a distance. Defaults to `1.0`.
        positive_margin: Float, a distance. Defaults to `0.0`.

    Returns:
        Float32 tensor `(triplets,)`.

    Raises:
        ValueError: If `triplets` has another shape.
    """
    embeddings = ops.cast(ops.convert_to_tensor(embeddings), "float32")
    anchor, positive, negative = (
        batch.gather(embeddings, rows)
        for rows in ops.unstack(batch.read_triplets(triplets), 3, axis=1)
    )
    pull = ops.relu(_offset_distance(anchor, positive) - positive_margin)
    push = ops.relu(margin - _offset_distance(anchor, negative))
    return pull + push


@keras.saving.register_keras_serializable(package="keras_distill")
class Contrastive(keras.losses.Loss):
    """Contrastive loss over the pairs of a batch.

    tensorflow-addons gives a loss on pairs and their distances, which is
    `contrastive_pairs`; here the batch is embeddings and class numbers, and three
    sources take different pairs and means. `form` chooses:

    * `"squared"`, the default: the value of tensorflow-addons over all pairs of
      different examples, `max(0, d - positive_margin)**2` for those of one class and
      `max(0, margin - d)**2` for the others, and the mean over all of them.
    * `"linear"`, of pytorch-metric-learning: all pairs, hinges not squared; the mean of
      the pulls above 0 plus the mean of the pushes above 0, so that the many negatives
      do not drown the few positives.
    * `"sampled"`, of the benchmark of Roth et al.: one drawn positive and one negative
      drawn by distance for each example, hinges not squared, the mean over all
      (`contrastive_triplets`). New draws at each call.

    `d` is Euclidean, its gradient between equal rows 0. The rows returned are each
    anchor's terms, scaled so that their plain mean is the loss. Without pairs of a
    kind that term is 0.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)`
    should be unit rows. A sample weight scales the pairs that a row is the anchor of;
    each pair is there from both its ends.

    Args:
        margin: Float, distance beyond which negatives rest. Defaults to `1.0`.
        positive_margin: Float, distance within which positives rest. Defaults to `0.0`.
        form: `"squared"`, `"linear"` or `"sampled"`. Defaults to `"squared"`.
        seed: Integer for the draws of `"sampled"`, or `None` for other draws in each
            run. Defaults to `None`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"contrastive"`.

    Raises:
        ValueError: If `form` is unknown.
    """

    def __init__(
        self,
        margin=1.0,
        positive_margin=0.0,
        form="squared",
        seed=None,
        reduction="sum_over_batch_size",
        name="contrastive",
    ):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        batch.check_choice("form", form, FORMS)
        self.margin = margin
        self.positive_margin = positive_margin
        self.form = form
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed) if form == "sampled" else None

    def call(self, y_true, y_pred):
        if self.form != "sampled":
            return contrastive_loss(
                y_true, y_pred, self.margin, self.positive_margin, self.form
            )
        triplets, valid = mining.distance_weighted_triplets(y_true, y_pred, self._seeds)
        losses = contrastive_triplets(
            y_pred, triplets, self.margin, self.positive_margin
        )
        # Either every anchor has a negative or, in a batch of one class, none has.
        return batch.mean_rows(losses, batch.count(valid))

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "positive_margin": self.positive_margin,
            "form": self.form,
            "seed": self.seed,
        }


def _offset_distance(a, b):
    return similarity.safe_sqrt(ops.sum(ops.square(a - b + 1e-6), axis=1))
