"""Wide training-only branches teach a narrow embedding whom each image resembles.

S2SD: Roth, Milbich, Ommer, Cohen, Ghassemi, "Simultaneous Similarity-based
Self-Distillation for Deep Metric Learning", ICML 2021,
https://arxiv.org/abs/2009.08348.
"""

from collections.abc import Iterable

import keras
from keras import layers, ops

from keras_distill import ranges
from keras_distill.methods import criterion_clones
from keras_distill.methods.criterion_weights import CriterionWeights
from keras_distill.methods.kept_state import add_state
from keras_distill.methods.method import Method, Term
from keras_distill.similarity import normalize, relational_kl

POOLINGS = ("avg", "avg+max")
_DIMS = (512, 1024, 1536, 2048)
# The rows of the paper's tables, and what the first author's code runs since 2022.
_VARIANTS = {
    "DSD": {"feature_weight": 0.0, "pooling": "avg"},
    "MSD": {"feature_weight": 0.0, "pooling": "avg"},
    "MSDF": {"pooling": "avg"},
    "MSDFA": {"pooling": "avg+max"},
    "later": {"weight": 0.0, "feature_delay": 0, "pooling": "avg+max"},
}
_DIMS_OF_VARIANTS = {"DSD": _DIMS[-1:], "later": _DIMS[1:]}


def pool_features(features, pooling):
    """A map `(batch, h, w, channels)` to one row an image, `(batch, channels)`.

    Args:
        features: The map, or rows `(batch, channels)`, which stay as they are.
        pooling: `"avg"`, the average over the cells; or `"avg+max"`, the SUM of
            average and maximum, which keeps the width (not a concatenation). Cells
            that are equally large share the gradient of a maximum.

    Returns:
        Tensor `(batch, channels)`, not normalised.
    """
    if len(features.shape) == 2:
        return features
    average = ops.mean(features, axis=(1, 2))
    if pooling == "avg":
        return average
    return average + ops.max(features, axis=(1, 2))


@keras.saving.register_keras_serializable(package="keras_distill")
class S2SD(Method):
    """Similarity distillation from wide branches of the same network.

    On top of the student's pooled features `phi`, each width `d_k` of `dims` gets a
    branch `z_k = normalize(Dense(d_k)(relu(Dense(d_k)(phi))))` with a criterion of
    its own: the loss of `compile`, cloned, so that proxies, margins, mining and draws
    are per branch. With `m` branches, `f` the embedding and `KL` the row mean of
    `similarity.relational_kl`, target first, the total is

        1/2 * (criterion(f) + 1/m * sum_k criterion_k(z_k))
          + weight * 1/m * sum_k KL(z_k || f)
          + feature_weight * KL(phi || f)      from training step `feature_delay` on

    so that a target is the reference distribution, KL(target || embedding), in nats.
    The targets get no gradient from the two KL terms; through their criteria the
    branches do train the backbone. This is the total of the authors' code. The
    names of the paper's tables for its parts, which `S2SD.variant(name)` makes:

        DSD     one width          feature_weight=0  pooling="avg"
        MSD     several            feature_weight=0  pooling="avg"
        MSDF    several                              pooling="avg"
        MSDFA   several                              pooling="avg+max"
        later   several, weight=0, feature_delay=0,  pooling="avg+max"

    The last is what the first author's later code does (the branches learn and the
    features teach, no divergence from the branches), with widths of 1024, 1536 and
    2048, and feature weights of 40 to 125 by data set and width.

    A batch of one has no likenesses and KL 0; what the criteria make of it, and of a
    batch of one class, is theirs to say.

    Nothing of it stays in the student. The paper reports Recall@1 of 62.8 -> 67.7
    (CUB200) and 81.7 -> 85.9 (CARS196) for MultiSimilarity at 128 dimensions,
    and that `"avg+max"` hurts on Stanford Online Products.

    Args:
        dims: Widths of the branches, positive integers.
        weight: Float >= 0, of the branches' KL. The KL of cosines is small, 1e-3 to
            5e-2 nats at temperature 1, hence the authors' 50.
        feature_weight: Float >= 0, of the features' KL; the authors lower it to 5
            on Stanford Online Products.
        temperature: Float > 0, of all KL terms.
        feature_delay: Integer >= 0: training steps before the features' KL is added;
            1000 steps are 14 to 19 epochs of the authors' CARS196 and CUB200.
            Counted in a variable, so that a resumed run goes on counting; evaluation
            does not count.
        pooling: `"avg"` or `"avg+max"`, how branches and feature term see the map.
            The student's own embedding keeps its pooling.
        criterion: A `keras.losses.Loss` for the branches, cloned for each; `None`
            for that of `compile`. Each clone of a loss with a `seed` has another.
            Compiling again with a loss of the same settings keeps the clones, and
            what they have learned.
        kernel_initializer: Of the branches, drawn for each layer; a `seed` is counted
            up from layer to layer. The authors' PyTorch layers start at
            U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which is
            `keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")`; their
            biases too, which here start at 0.
        name: Defaults to `"s2sd"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_branches`, mean criterion of the branches; `{name}_distillation`
    and `{name}_features`, the KL terms in nats times temperature squared.

    Raises:
        ValueError: If an argument is out of its range; when compiled, if the loss is
            missing, is a structure of several, is no mean over the batch (branches
            are averaged), or cannot be made anew from its configuration; if the
            feature layer gives neither a map nor rows, or with `pooling="avg+max"` no
            map to pool.
    """

    term_names = ("branches", "distillation", "features")
    base_weight = 0.5

    def __init__(
        self,
        dims=_DIMS,
        weight=50.0,
        feature_weight=50.0,
        temperature=1.0,
        feature_delay=1000,
        pooling="avg+max",
        criterion=None,
        kernel_initializer="glorot_uniform",
        name="s2sd",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.dims = _widths(dims)
        ranges.count(0, feature_delay=feature_delay)
        if pooling not in POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {POOLINGS}. Received: pooling={pooling!r}"
            )
        self.add_coefficient("weight", weight)
        self.add_coefficient("feature_weight", feature_weight)
        self.add_coefficient("temperature", temperature, ranges.positive)
        self.feature_delay = int(feature_delay)
        self.pooling = pooling
        self.criterion = keras.losses.get(criterion)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.branches = []
        self.criterion_weights = CriterionWeights()
        self._criteria = None
        self._criterion_settings = None
        self.steps = add_state(self, "steps", dtype="int32")

    @classmethod
    def variant(cls, name, **arguments):
        """S2SD as a row of the paper's tables names it.

        Args:
            name: `"DSD"`, `"MSD"`, `"MSDF"`, `"MSDFA"` or `"later"`.
            **arguments: Of `S2SD`, but for those that make the variant. Unless `dims`
                says otherwise, DSD has the widest of the default widths, and the
                later practice all but the narrowest.

        Returns:
            `S2SD`.

        Raises:
            ValueError: If the name is unknown, or an argument contradicts it.
        """
        if name not in _VARIANTS:
            raise ValueError(
                f"`name` must be one of {', '.join(_VARIANTS)}. Received: name={name!r}"
            )
        fixed = _VARIANTS[name]
        for argument in fixed:
            if argument in arguments:
                raise ValueError(
                    f"{name} means {argument}={fixed[argument]!r}: use S2SD(...) for "
                    f"another. Received: {argument}={arguments[argument]!r}"
                )
        dims = _widths(arguments.pop("dims", _DIMS_OF_VARIANTS.get(name, _DIMS)))
        if name == "DSD" and len(dims) != 1:
            raise ValueError(f"DSD has one width. Received: dims={dims}")
        return cls(dims=dims, **fixed, **arguments)

    @property
    def criteria(self):
        # What takes the labels of the loss of `compile` takes those of its clones.
        return () if self.criterion is None else (self.criterion,)

    @property
    def student_layers(self):
        return (self.feature_layer,)

    def build(self, shapes):
        shape = shapes[self.feature_layer]
        if not isinstance(shape, tuple) or len(shape) not in (2, 4):
            raise ValueError(
                "The feature layer must give one map (batch, h, w, channels) or rows "
                f"(batch, channels). Received: layer={self.feature_layer!r} "
                f"with shape {shape}"
            )
        if len(shape) == 2 and self.pooling == "avg+max":
            raise ValueError(
                "pooling='avg+max' needs a feature map (batch, h, w, channels): name "
                "the layer before the pooling in `feature_layer`, or use "
                f"pooling='avg'. Received: layer={self.feature_layer!r} "
                f"with shape {shape}"
            )
        for number, dim in enumerate(self.dims):
            branch = keras.Sequential(
                [
                    keras.Input((shape[-1],)),
                    self._dense(dim, 2 * number, activation="relu"),
                    self._dense(dim, 2 * number + 1),
                ],
                name=f"branch_{dim}_{len(self.branches)}",
            )
            self.branches.append(branch)
        self.built = True

    def _dense(self, dim, number, activation=None):
        initializer = self.kernel_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            # One instance, or one seed, would give all layers the same start.
            config = initializer.get_config()
            if ranges.is_integer(config.get("seed")):
                config["seed"] += number
            initializer = type(initializer).from_config(config)
        return layers.Dense(dim, activation=activation, kernel_initializer=initializer)

    def take_criterion(self, criterion):
        for base in keras.tree.flatten(criterion):
            criterion_clones.refuse_sums(base)
        criterion = criterion if self.criterion is None else self.criterion
        if criterion is None or len(keras.tree.flatten(criterion)) != 1:
            raise ValueError(
                "S2SD trains its branches with the loss of `compile`: give one loss, "
                f"or S2SD(criterion=...). Received: loss={criterion!r}"
            )
        criterion = keras.tree.flatten(criterion)[0]
        if not isinstance(criterion, keras.losses.Loss):
            raise ValueError(
                "S2SD clones the loss for each branch: give a keras.losses.Loss, not "
                f"a name or a function. Received: loss={criterion!r}"
            )
        criterion_clones.refuse_sums(criterion)
        made = criterion_clones.clones(criterion, len(self.dims))
        settings = criterion_clones.settings(criterion)
        if settings == self._criterion_settings:
            return  # The branches' own have learned already.
        self._criteria, self._criterion_settings = made, settings
        self.criterion_weights.replace(self._criteria, self.dims)

    def rows(self, views):
        features = pool_features(views.layers[self.feature_layer], self.pooling)
        branches = [branch(features) for branch in self.branches]
        return {"features": features, "branches": branches}

    def terms(self, batch):
        units = [normalize(z) for z in batch.rows["branches"]]
        criteria = [
            own.call(batch.labels, z)
            for own, z in zip(self._criteria, units, strict=True)
        ]
        divergences = [self._divergence(z, batch.embeddings) for z in units]
        features = self._divergence(batch.rows["features"], batch.embeddings)
        active = ops.cast(self.steps >= self.feature_delay, "float32")
        if batch.training:
            self.steps.assign_add(1)
        return {
            "branches": Term(_mean(criteria), 1 - self.base_weight),
            "distillation": Term(_mean(divergences), self.weight),
            "features": Term(features, self.feature_weight * active),
        }

    def _divergence(self, target, embeddings):
        return relational_kl(target, embeddings, self.temperature)

    def get_config(self):
        return {
            **super().get_config(),
            "dims": self.dims,
            "feature_delay": self.feature_delay,
            "pooling": self.pooling,
            "criterion": keras.losses.serialize(self.criterion),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _widths(dims):
    """`dims` as a tuple of Python's integers."""
    several = isinstance(dims, Iterable) and not isinstance(dims, str)
    widths = tuple(dims) if several else ()
    if not widths or not all(ranges.is_integer(d) and d > 0 for d in widths):
        raise ValueError(
            "`dims` must be positive integers, one or more, in a tuple or list. "
            f"Received: dims={dims!r}"
        )
    return tuple(int(d) for d in widths)


def _mean(values):
    return sum(values) / len(values)
