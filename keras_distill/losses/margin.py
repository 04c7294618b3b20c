"""Keep positives nearer than a learned boundary and negatives farther."""

import keras
from keras import ops

from keras_distill import similarity
from keras_distill.losses import batch, mining
from keras_distill.losses.trainable_loss import TrainableLoss

DIVISORS = ("triplets", "pairs")


def margin_loss(
    embeddings, labels, triplets, beta, margin=0.2, nu=0.0, divisor="triplets"
):
    """Margin loss of given triplets.

        pull[t] = max(0, d(a, p) - beta[y_a] + margin)
        push[t] = max(0, beta[y_a] - d(a, n) + margin)
        loss = sum_t (pull[t] + push[t]) / c + nu * sum_t beta[y_a]

    with Euclidean `d = sqrt(|x - z|**2 + 1e-8)`, whose gradient is finite for equal
    rows, and `c` the number of triplets where either hinge is active (0: the sum is
    0 too). The paper and pytorch-metric-learning count active pairs, a triplet with
    both hinges active twice: `divisor="pairs"`, up to a third less.

    Args:
        embeddings: Float tensor `(batch, dim)`; rows are taken as they come.
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers `0 .. classes - 1`.
        triplets: Int tensor `(triplets, 3)`, rows of anchor, positive and negative.
        beta: Float tensor `(classes,)`, the boundary of each class, a distance.
        margin: Float, half the width of the band around the boundary. Defaults to
            `0.2`.
        nu: Float, the weight on beta. Defaults to `0.0`.
        divisor: `"triplets"` or `"pairs"`. Defaults to `"triplets"`.

    Returns:
        Float32 scalar; 0 without triplets.

    Raises:
        ValueError: If `divisor` is unknown, a shape is not as above, or (in a graph the
            loss is NaN instead) a label is outside `0 .. classes - 1`.

    References:
        Wu et al., ICCV 2017, https://arxiv.org/abs/1706.07567; divisor and defaults of
        the benchmark of Roth et al., https://arxiv.org/abs/2002.08473.
    """
    labels, embeddings = batch.read_batch(labels, embeddings)
    triplets = batch.read_triplets(triplets)
    beta = ops.cast(ops.convert_to_tensor(beta), "float32")
    labels, valid = batch.read_classes(labels, beta.shape[0])
    everything = ops.ones_like(triplets[:, 0], dtype="bool")
    hinges, active, beta = _triplet_terms(
        embeddings, labels, triplets, everything, beta, margin, divisor
    )
    loss = ops.divide_no_nan(ops.sum(hinges), ops.sum(active))
    return batch.mark_invalid(loss + nu * ops.sum(beta), valid)


@keras.saving.register_keras_serializable(package="keras_distill")
class Margin(TrainableLoss):
    """Margin loss with a learned boundary for each class.

    See `margin_loss` for the formula. Each example is the anchor of one triplet a
    batch, its negative drawn so that all distances are seen (`triplets=
    "distance_weighted"`, new draws at each call), or all triplets of the batch count
    (`triplets="all"`, as pytorch-metric-learning does; the boundary is then usually
    divided over `divisor="pairs"`).

    The rows returned are each anchor's terms, scaled so that their plain mean is the
    formula. An anchor without negative draws nothing; one alone in its class is its
    own positive under `"distance_weighted"` and in no triplet under `"all"`. A batch
    of one class, or of one example, has loss 0.

    The boundary is a weight and needs a model to train it: see `TrainableLoss`. The
    benchmark moves it at 5e-4 where the model moves at 1e-5
    (`learning_rate_multiplier=50`); S2SD at the model's own rate. For a constant
    boundary set `loss.parameters.trainable = False`.

    Labels are class numbers `(batch,)` or `(batch, 1)`; embeddings `(batch, dim)` unit
    rows. A sample weight scales the triplets that a row is the anchor of.

    Args:
        num_classes: Positive integer; labels are `0 .. num_classes - 1`.
        margin: Float, half the band around the boundary. Defaults to `0.2`.
        beta: Float, the boundary all classes begin with, a distance in [0, 2].
            Defaults to `1.2` (`0.6` for the variant called R-Margin).
        nu: Float, the weight on the sum of beta over triplets. Defaults to `0.0`.
        triplets: `"distance_weighted"` or `"all"`. Defaults to the first.
        divisor: `"triplets"` (those with an active hinge) or `"pairs"` (active
            hinges), see `margin_loss`. Defaults to `"triplets"`.
        lower_cutoff: Float in (0, 2), see `mining.distance_weighted_probabilities`.
            Defaults to `0.5`.
        seed: Integer, or `None` for another sequence of draws in each run. The state
            of the draws is saved with the weights: a resumed run goes on with it.
        learning_rate_multiplier: See `TrainableLoss`. Defaults to `1.0`.
        reduction: See `keras.losses.Loss`.
        name: String. Defaults to `"margin"`.

    Raises:
        ValueError: If `triplets` or `divisor` is unknown or a number out of range.

    Example:
        distiller = kd.Distiller(student)
        distiller.compile("adam", loss=Margin(num_classes=100))
    """

    def __init__(
        self,
        num_classes,
        margin=0.2,
        beta=1.2,
        nu=0.0,
        triplets="distance_weighted",
        divisor="triplets",
        lower_cutoff=0.5,
        seed=None,
        learning_rate_multiplier=1.0,
        reduction="sum_over_batch_size",
        name="margin",
    ):
        super().__init__(num_classes, learning_rate_multiplier, reduction, name)
        batch.check_choice("triplets", triplets, ("distance_weighted", "all"))
        batch.check_choice("divisor", divisor, DIVISORS)
        if not 0 < lower_cutoff < 2:
            raise ValueError(
                "`lower_cutoff` is a distance of unit rows and must lie between 0 "
                f"and 2. Received: lower_cutoff={lower_cutoff}"
            )
        self.margin = margin
        self.initial_beta = beta
        self.nu = nu
        self.triplets = triplets
        self.divisor = divisor
        self.lower_cutoff = lower_cutoff
        self.seed = seed
        self._beta = None
        self._seeds = keras.random.SeedGenerator(seed)
        # As a weight of the layer the state of the draws is saved and resumed.
        self.parameters.seed_state = self._seeds.state

    def create_weights(self, dim):
        self._beta = self.add_weight(
            "beta",
            (self.num_classes,),
            lambda shape: ops.full(shape, self.initial_beta),
        )

    @property
    def beta(self):
        """Float32 tensor `(num_classes,)`, the boundaries; `None` before `build`."""
        return None if self._beta is None else self.value(self._beta)

    def formula(self, labels, embeddings):
        if self.triplets == "all":
            hinges, active, nu_terms = self._all(labels, embeddings)
        else:
            triplets, valid = mining.distance_weighted_triplets(
                labels, embeddings, self._seeds, self.lower_cutoff
            )
            hinges, active, nu_terms = _triplet_terms(
                embeddings,
                labels,
                triplets,
                valid,
                self.beta,
                self.margin,
                self.divisor,
            )
        rows = batch.mean_rows(hinges, ops.sum(active))
        return rows + self.nu * batch.sum_rows(nu_terms)

    def _all(self, labels, embeddings):
        """Terms of all triplets of each anchor, without listing the triplets."""
        positives, negatives = batch.pair_masks(labels)
        distances = similarity.distances(embeddings)
        beta = batch.gather(self.beta, labels)
        pull = ops.relu(distances - beta[:, None] + self.margin)
        push = ops.relu(beta[:, None] - distances + self.margin)
        pulls = batch.count(positives, axis=1)
        pushes = batch.count(negatives, axis=1)
        active_pulls = batch.count(ops.logical_and(positives, pull > 0.0), axis=1)
        active_pushes = batch.count(ops.logical_and(negatives, push > 0.0), axis=1)
        # Each positive of an anchor meets each of its negatives once.
        hinges = pushes * batch.masked_sum(pull, positives)
        hinges = hinges + pulls * batch.masked_sum(push, negatives)
        if self.divisor == "pairs":
            active = active_pulls * pushes + active_pushes * pulls
        else:
            idle = (pulls - active_pulls) * (pushes - active_pushes)
            active = pulls * pushes - idle
        return hinges, active, pulls * pushes * beta

    def get_config(self):
        return {
            **super().get_config(),
            "margin": self.margin,
            "beta": self.initial_beta,
            "nu": self.nu,
            "triplets": self.triplets,
            "divisor": self.divisor,
            "lower_cutoff": self.lower_cutoff,
            "seed": self.seed,
        }


def _triplet_terms(embeddings, labels, triplets, valid, beta, margin, divisor):
    """Hinges, what they add to the divisor, and beta: `(triplets,)` each."""
    batch.check_choice("divisor", divisor, DIVISORS)
    anchors, positives, negatives = ops.unstack(triplets, 3, axis=1)
    anchor = batch.gather(embeddings, anchors)
    to_positive = _distance(anchor, batch.gather(embeddings, positives))
    to_negative = _distance(anchor, batch.gather(embeddings, negatives))
    beta = batch.gather(beta, ops.take(labels, anchors))
    beta = ops.where(valid, beta, 0.0)
    pull = ops.where(valid, ops.relu(to_positive - beta + margin), 0.0)
    push = ops.where(valid, ops.relu(beta - to_negative + margin), 0.0)
    pulls, pushes = pull > 0.0, push > 0.0
    if divisor == "pairs":
        active = ops.cast(pulls, "float32") + ops.cast(pushes, "float32")
    else:
        active = ops.cast(ops.logical_or(pulls, pushes), "float32")
    return pull + push, active, beta


def _distance(a, b):
    return ops.sqrt(ops.sum(ops.square(a - b), axis=-1) + 1e-8)
