"""Trust each lesson of a teacher as far as it can be learned.

PAD: Zhang, Wang, Zhang, Yu, Tian, "Prime-Aware Adaptive Distillation", ECCV 2020,
https://arxiv.org/abs/2008.01458.
"""

import math

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.methods.adaptive_weighting import adaptive_weighting, log_weight
from keras_distill.methods.kept_state import add_state
from keras_distill.methods.method import Method, Term
from keras_distill.methods.teacher_term import TeacherTerm, restored, row_means
from keras_distill.methods.uncertainty_figures import uncertainty_figures
from keras_distill.methods.variance_head import VarianceHead

VARIANCES = (None, "per_dim", "per_sample")

# Where `rows` keeps what the head reads, beside what the term compares.
_HEAD = "pad_head"


@keras.saving.register_keras_serializable(package="keras_distill")
class PAD(Method):
    """Learns the uncertainty of each lesson of a teacher, and weighs it by that.

    Wraps a term that compares the student with a teacher. A head predicts from the
    student's features the log-variance s of each distance d, and the loss becomes

        term.weight * mean(d)                              for `warm_up` steps, then
        weight * mean(d / (epsilon + exp(s)) + s)          see `adaptive_weighting`

    so that samples which this student cannot learn count less. The head is a linear
    layer with batch normalisation (epsilon 1e-5, momentum 0.9) in float32, computed on
    the global batch; student and head get the gradient of all of it, the student
    through the head too. During the warm-up the head gets none. Head and projection
    never reach the student. They are spared weight decay, as all weights of methods are
    (in the released recipe branch and student share it).

    The paper distils pooled features (not logits) with squared residuals and one
    variance for each dimension, `PAD(FeatureL2(...))`, and says that it improves other
    distillation losses as well; which of them and how is ours: any `TeacherTerm`, whose
    distance stays unreduced. Its second stage, from a student trained with the
    term, is `warm_up` here. Reported for ImageNet, ResNet-34 to ResNet-18: top-1 70.90
    with squared residuals, 71.71 with PAD.

    Two cautions. The loss falls below 0 and goes on falling as distances shrink: it is
    no measure of quality, so choose checkpoints by a metric. And what PAD
    brings shows only beside a student that went on with the plain term for as many
    steps.

    What the head reads is what a per-dim term compares; beside one distance a sample it
    is the student's output. Of a classifier that is logits: the paper feeds the pooled
    features, `PAD(SoftTargets(...), head_layer="pooled")`.

    A batch of one gives the head no statistics: s is then the same for whatever it
    reads, the bias of the normalisation. Where nothing is left by the mask, the loss
    is 0. A distance of exactly 0 leaves s alone to be minimised, see
    `log_variance_range`; with `start_at_residual` s starts from log(1e-30) there.

    Distances may have axes between the batch and the dimensions, as a detector's: cells
    of a map, boxes of an image. Each is a sample to the head, and means are over
    what the mask of the comparison lets through, image by image.

    Args:
        term: A `TeacherTerm`. Its own weight applies during the warm-up. It is part of
            this method: do not give it to the distiller besides.
        weight: Float >= 0, after the warm-up.
        variance: `"per_dim"`, a log-variance for each dimension; `"per_sample"`, one
            for all, with the mean of a per-dim distance over its dimensions (with
            the sum, s would count too little); `None` for what the term allows.
        warm_up: Integer >= 1, training steps with the plain term, counted in a saved
            variable. From the start the head would learn large variances and the
            student stop following the teacher. For a student that was trained with the
            term already 1 is enough. Evaluation is in the phase that training is in.
        epsilon: Float >= 0.
        detach: Whether the student gets no gradient through the head. This changes the
            method.
        log_variance_range: `None`, or floats `(low, high)`: s is cut off there, and
            has no gradient beyond. For distances that reach 0, whose loss is
            otherwise without limit.
        start_at_residual: Whether the head starts from log(mean distance), of each
            column, as measured over the last steps of the warm-up, instead of
            from 0. Squared residuals of unit rows of D dimensions are about 1 / D: from
            0 the bias of the head has to fall by log D, some thousand steps of Adam at
            1e-3, and until it has the weights are all near 1, as of the plain term.
        head_layer: Path of the layer of the student that the head reads, one row
            `(batch, channels)` an image; `None` for the compared features or the
            student's output, as above.
        name: Defaults to `"pad_"` and the name of the term.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distance`, the plain mean distance; `{name}_adaptive`, the mean of
    `adaptive_weighting`; and, as no part of the loss, `{name}_log_variance` and
    `{name}_weight` (means of s and of 1 / (epsilon + exp(s))),
    `{name}_effective_sample_size` (at most the samples of a batch; mean over
    dimensions) and `{name}_rank_correlation` (Spearman's, of an image's mean s with its
    mean distance: above 0 where the head knows what is hard).

    Raises:
        TypeError: If `term` is no `TeacherTerm`.
        ValueError: If an argument is out of its range; if `variance="per_dim"` and the
            term has one distance a sample; if `head_layer` does not give rows.

    Example:

    ```python
    term = keras_distill.methods.RelationalKL(weight=50.0)
    pad = keras_distill.PAD(term, weight=1.0, warm_up=2000, start_at_residual=True)
    distiller = keras_distill.Distiller(student, [pad], teacher=teacher)
    ```
    """

    term_names = (
        "distance",
        "adaptive",
        "log_variance",
        "weight",
        "effective_sample_size",
        "rank_correlation",
    )
    needs_teacher = True

    def __init__(
        self,
        term,
        weight=1.0,
        variance=None,
        warm_up=1000,
        epsilon=1e-6,
        detach=False,
        log_variance_range=None,
        start_at_residual=False,
        head_layer=None,
        name=None,
        **kwargs,
    ):
        term = restored(term)
        if not isinstance(term, TeacherTerm):
            raise TypeError(
                "`term` must be a methods.TeacherTerm, such as methods.RelationalKL(). "
                f"Received: term={term!r} of type {type(term).__name__}"
            )
        super().__init__(name=name or f"pad_{term.name}", **kwargs)
        ranges.not_negative(epsilon=epsilon)
        if variance not in VARIANCES:
            raise ValueError(
                f"`variance` must be one of {VARIANCES}. "
                f"Received: variance={variance!r}"
            )
        if variance == "per_dim" and not term.per_dim:
            raise ValueError(
                f"{term.name!r} has one distance a sample, not one a dimension: use "
                "variance='per_sample'. Received: variance='per_dim'"
            )
        if isinstance(warm_up, bool) or not isinstance(warm_up, int) or warm_up < 1:
            raise ValueError(
                "`warm_up` must be an integer, 1 or more: before the student follows "
                "the teacher the head only learns that everything is uncertain. For a "
                "student trained with the term already use 1. "
                f"Received: warm_up={warm_up}"
            )
        if log_variance_range is not None:
            log_variance_range = tuple(log_variance_range)
            _check_range(log_variance_range)
        self.add_coefficient("weight", weight)
        self.term = term
        self.variance = variance
        self.warm_up = warm_up
        self.epsilon = float(epsilon)
        self.detach = detach
        self.log_variance_range = log_variance_range
        self.start_at_residual = start_at_residual
        self.head_layer = head_layer
        self.head = None
        self.steps = add_state(self, "steps", dtype="int32")

    @property
    def needs_embedding(self):
        return self.term.needs_embedding

    @property
    def per_dim(self):
        """Whether there is a log-variance for each dimension."""
        return self.term.per_dim and self.variance != "per_sample"

    @property
    def student_layers(self):
        own = () if self.head_layer is None else (self.head_layer,)
        return (*self.term.student_layers, *own)

    @property
    def teacher_layers(self):
        return self.term.teacher_layers

    def take_student(self, student):
        self.term.feature_layer = self.feature_layer
        self.term.take_student(student)

    def take_teacher(self, teacher, student):
        self.term.take_teacher(teacher, student)

    def take_criterion(self, criterion):
        self.term.take_criterion(criterion)

    def schedules(self):
        return self.term.schedules()

    def build(self, shapes):
        if not self.term.built:  # A loaded one is.
            self.term.build(shapes)
        channels, width = self.term.widths(shapes)
        if self.head_layer is not None:
            shape = shapes[self.head_layer]
            if len(shape) != 2:
                raise ValueError(
                    "`head_layer` must give one row an image, (batch, channels). "
                    f"Received: head_layer={self.head_layer!r}, which gives "
                    f"{tuple(shape)}"
                )
            channels = shape[-1]
        self.head = VarianceHead(
            width if self.per_dim else 1,
            self.detach,
            self.log_variance_range,
            self.start_at_residual,
        )
        self.head.build((None, channels))
        self.built = True

    def rows(self, views):
        rows = self.term.rows(views)
        if self.head_layer is not None:
            rows = {**rows, _HEAD: views.layers[self.head_layer]}
        return rows

    def terms(self, batch):
        distance, features, valid = self.term.compare(batch.rows)
        if self.term.per_dim and not self.per_dim:
            distance = ops.mean(distance, axis=-1)
        mask = None
        if valid is not None:
            valid = ops.cast(valid, "bool")
            mask = ops.expand_dims(valid, -1) if self.per_dim else valid
            distance = ops.where(mask, distance, 0.0)
        warm = self.steps >= self.warm_up
        if batch.training and self.start_at_residual:
            self.head.measure(distance, valid, ops.logical_not(warm))
        log_variance = self._log_variance(batch, features, valid, distance)
        if batch.training:
            self.steps.assign_add(1)
        # Exactly 0 or 1, and both sides finite: neither value nor gradient of the
        # one that is off reaches the total.
        warm = ops.cast(warm, "float32")
        adaptive = adaptive_weighting(distance, log_variance, self.epsilon)
        plain = row_means(distance, mask)
        log_weights = log_weight(log_variance, self.epsilon)
        figures = uncertainty_figures(
            plain, log_variance, log_weights, self.head.width, mask
        )
        return {
            "distance": Term(plain, self.term.weight * (1 - warm)),
            "adaptive": Term(row_means(adaptive, mask), self.weight * warm),
            **{name: Term(value, None) for name, value in figures.items()},
        }

    def _log_variance(self, batch, features, valid, distance):
        """The head's answer, in the shape of `distance`."""
        if features is None or self.head_layer is not None:
            # One row an image, there to be seen even where all its boxes are padding.
            features, valid = batch.rows.get(_HEAD, batch.embeddings), None
        values = self.head(features, valid=valid, training=batch.training)
        if not self.per_dim:
            values = ops.squeeze(values, axis=-1)
        while len(values.shape) < len(distance.shape):
            values = ops.expand_dims(values, 1)
        return ops.broadcast_to(values, ops.shape(distance))

    def get_config(self):
        return {
            **super().get_config(),
            "term": keras.saving.serialize_keras_object(self.term),
            "variance": self.variance,
            "warm_up": self.warm_up,
            "epsilon": self.epsilon,
            "detach": self.detach,
            "log_variance_range": self.log_variance_range,
            "start_at_residual": self.start_at_residual,
            "head_layer": self.head_layer,
        }


def _check_range(limits):
    finite = len(limits) == 2 and all(math.isfinite(limit) for limit in limits)
    if not finite or limits[0] >= limits[1]:
        raise ValueError(
            "`log_variance_range` must be two finite floats, low < high. "
            f"Received: log_variance_range={limits}"
        )
