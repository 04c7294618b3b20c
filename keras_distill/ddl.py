"""Learn how discriminable an image is, and weigh the images of a group by it."""

import keras
from keras import ops

from keras_distill import models, ranges, replicas
from keras_distill.callbacks import DiscriminabilityTargets, needed_first, proxy_pass
from keras_distill.methods.discriminability import (
    CENTROIDS,
    discriminability,
    score_targets,
)
from keras_distill.methods.uncertainty_figures import rank_correlation
from keras_distill.models import embedder_and_scorer
from keras_distill.row_targets import RowTargets
from keras_distill.traced_once import build_optimizer


@keras.saving.register_keras_serializable(package="keras_distill")
class DDL(keras.Model):
    """Trains a scorer to see how discriminable an image is to a frozen embedder.

    On a proxy set, labelled images some of which are bad, each image's indicator is
    computed from the embedder's features (`discriminability`), by a callback that `fit`
    adds: `callbacks.DiscriminabilityTargets`. The scorer is then fitted to the
    indicators, image in, score out: it needs no label and no centroid any more, and
    works for classes that it has never seen. What deploys is embedder and scorer,
    `group_embedder`. DDL, Zhang et al., ECCV 2020, https://arxiv.org/abs/2008.10850,
    with squared error for the regression. (Not the Distribution Distillation Loss of
    the same conference.)

    The same images go to both models: of one size, in the pixel values that both take.
    A scorer that is to see them smaller begins with a `Resizing` layer. One that
    augments them itself learns the indicators of images that it does not see:
    augmentation belongs into the views of the proxy set.

    Only the scorer is trained. The embedder gets `trainable = False`, which stays so
    when the model given here is used elsewhere; it is called in inference mode, once an
    image when `fit` begins, and is not run in the steps. `predict` and a call give the
    scores `(B, 1)`, float32, of images or of a dictionary that holds them under
    `"image"`.

    `fit` and `evaluate` take the data set of `data.proxy_views`, or any
    `tf.data.Dataset` of batches `({"image": (B, H, W, C), "row": (B,)}, labels (B,))`:
    a pass shows each of the rows 0 .. R - 1 once, in any order, and a row shows the
    same pixels in every pass. Sample weights may follow. Put bad images into it, as one
    finds in use: where all are alike, there is nothing to learn. Validation data,
    and what `evaluate` is given, have rows and classes of their own, and indicators by
    their own centroids, mean and std; they are not those of training, and need no
    class of it.

    Args:
        embedder: A built `keras.Model` from images to `(B, D)`, trained.
        scorer: A built `keras.Model` from images to one number each, `(B, 1)` or
            `(B,)`, in [0, 1], such as `models.scorer`. Shares no weights with the
            embedder.
        floor: Float > 0, see `discriminability`.
        leave_one_out: Whether a row is left out of its own class's centroid, see
            `discriminability`. The formula does not; with few images of a class that
            makes the ratio of all of them larger.
        centroids: `"raw"`, means of the features as they come, or `"unit"`, of
            features of length 1.
        **kwargs: See `keras.Model`.

    Rows that are alone in their class are not valid: they weigh 0 in the loss and in
    all metrics.

    Logs: `loss`; the metrics of `compile`; and `rank_correlation`, Spearman's, of
    scores and indicators within a batch, the mean over the batches of an epoch, each by
    its valid rows: above 0 where the scorer knows what is discriminable. While training
    it is that of a scorer that changes, and with batches of one kind of images it is
    about that kind.

    Raises:
        TypeError: If `embedder` or `scorer` is no `keras.Model`.
        ValueError: If one is not built or gives something else, if they take images
            of different shapes or share weights, or if an option is out of its
            range; in `fit`, `evaluate` and `take_targets`, as that says.

    Example:

    ```python
    views = kd.data.FixedViews(kd.layers.RandomDegradation(), count=4)
    ddl = kd.DDL(embedder, kd.models.scorer((32, 32, 1)))
    ddl.compile("adam")
    ddl.fit(kd.data.proxy_views(train, views), epochs=20)
    groups = ddl.group_embedder(keep=2)
    ```
    """

    def __init__(
        self,
        embedder,
        scorer,
        floor=0.05,
        leave_one_out=False,
        centroids="raw",
        **kwargs,
    ):
        # Both cast their images, or do not, by their own policies.
        super().__init__(autocast=False, **kwargs)
        embedder_and_scorer.refuse_other_models(embedder, scorer)
        ranges.positive(floor=floor)
        if centroids not in CENTROIDS:
            raise ValueError(
                f"`centroids` must be one of {CENTROIDS}. Received: {centroids=}"
            )
        embedder.trainable = False
        self.embedder = embedder
        self.scorer = scorer
        self.floor = float(floor)
        self.leave_one_out = bool(leave_one_out)
        self.centroids = centroids
        self._look_through = proxy_pass.ProxyPass(embedder)
        self._targets, self._held_out = RowTargets(), RowTargets()
        self._rank_tracker = keras.metrics.Mean(name="rank_correlation")
        self.built = True

    def call(self, inputs, training=None):
        images = inputs
        if isinstance(inputs, dict):
            if "image" not in inputs:
                raise ValueError(
                    "A dictionary of inputs must hold the images under 'image'. "
                    f"Received: keys={sorted(inputs)}"
                )
            images = inputs["image"]
        scores = self.scorer(images, training=training)
        embedder_and_scorer.refuse_other_scores(scores, self.scorer.name)
        return ops.cast(ops.reshape(scores, (-1, 1)), "float32")

    def compile(
        self,
        optimizer="adam",
        loss="mse",
        metrics=None,
        weighted_metrics=None,
        **kwargs,
    ):
        """As `keras.Model.compile`, with a loss of indicators and scores, `(B, 1)`.

        Args:
            optimizer: Defaults to Adam.
            loss: Defaults to squared error, the paper's.
            metrics: As `weighted_metrics`: rows that are not valid must weigh 0 in
                these, too, and so sample weights apply.
            weighted_metrics: List of metrics.
            **kwargs: See `keras.Model.compile`.
        """
        given = [*_as_list(metrics), *_as_list(weighted_metrics)]
        super().compile(optimizer, loss, weighted_metrics=given or None, **kwargs)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """As `keras.Model.fit`, with the targets of `x` computed first.

        Args:
            x: The data set, see `DDL`. One without an end needs the finite one in
                `callbacks`, see `callbacks.DiscriminabilityTargets`.
            y: None: the labels are in `x`.
            batch_size: None: `x` has its batches.
            epochs: Integer.
            verbose: See `keras.Model.fit`.
            callbacks: List of callbacks. They run after the one that computes the
                targets, unless it is among them.
            **kwargs: See `keras.Model.fit`; of these `validation_data` is a data set
                like `x`, of rows of its own.

        Returns:
            `keras.callbacks.History`.

        Raises:
            TypeError: If `x` or `validation_data` is no `tf.data.Dataset`.
            ValueError: If it yields something else, and as `take_targets`; if nothing
                of the scorer is trainable.
        """
        validation = kwargs.get("validation_data")
        proxy_pass.refuse_other_data(x=x)
        if validation is not None:
            proxy_pass.refuse_other_data(validation_data=validation)
        if not self.trainable_variables:
            raise ValueError(
                "The scorer must have trainable weights. "
                f"Received: scorer={self.scorer.name!r}, which has none"
            )
        given = needed_first.as_list(callbacks)
        theirs = [one for one in given if isinstance(one, DiscriminabilityTargets)]
        needed = [] if theirs else [DiscriminabilityTargets(x)]
        for targets in [*needed, *theirs]:
            targets.will_see(x, validation)
        callbacks = needed_first.put_first(needed, callbacks, self)
        # Keras 3.15 warns of its own default, shuffle=True, with any data set.
        kwargs.setdefault("shuffle", False)
        self._held_out.serves = validation
        try:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)
        finally:
            self._held_out.serves = None

    def evaluate(self, x=None, *args, **kwargs):
        """As `keras.Model.evaluate`, with the targets of `x` computed first.

        Args:
            x: A finite data set, see `DDL`, with rows and classes of its own.
            *args, **kwargs: See `keras.Model.evaluate`.

        Returns:
            The loss, or as `keras.Model.evaluate`.

        Raises:
            TypeError, ValueError: As `take_targets`.
        """
        if x is not None and x is self._held_out.serves:  # `fit` validates.
            return super().evaluate(x, *args, **kwargs)
        proxy_pass.refuse_other_data(x=x)
        with self._held_out.put_back():
            self.take_targets(x, held_out=True)
            return super().evaluate(x, *args, **kwargs)

    def take_targets(self, dataset, shown=None, held_out=False, verbose=False):
        """Computes what the scorer is compared with, in one pass of a data set.

        `fit` and `evaluate` do so by themselves; loops of `train_on_batch` or
        `test_on_batch` begin with it.

        Args:
            dataset: A finite data set, see `DDL`.
            shown: What will be trained on or evaluated, of which some batches are
                compared with `dataset`. Defaults to `dataset`.
            held_out: Whether these are targets for evaluation instead of training.
            verbose: Whether to show a progress bar.

        Returns:
            `Discriminability` of the rows in order, and their labels, `(R,)`.

        Raises:
            TypeError: If `dataset` is no `tf.data.Dataset`.
            ValueError: If it yields something else or has no end; if a pass does not
                show each of the rows 0 .. R - 1 once, or other pixels than the last;
                if there are less than two classes, or none of two images; if all
                images are equally discriminable; if embeddings are not finite.
        """
        proxy_pass.refuse_other_data(dataset=dataset)
        proxy_pass.refuse_endless(dataset=dataset)
        seen = self._look_through(dataset, verbose)
        proxy_pass.refuse_other_pixels(dataset if shown is None else shown, seen.sums)
        measured = discriminability(
            seen.features,
            seen.labels,
            floor=self.floor,
            leave_one_out=self.leave_one_out,
            centroids=self.centroids,
        )
        table = self._held_out if held_out else self._targets
        table.assign(score_targets(measured), measured.valid)
        return measured, seen.labels

    def make_train_function(self, force=False):
        build_optimizer(self)
        return super().make_train_function(force)

    def train_step(self, data):
        return super().train_step(self._targets.instead_of_labels(data))

    def test_step(self, data):
        return super().test_step(self._held_out.instead_of_labels(data))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        scores, indicators, weights = replicas.gather((y_pred, y, sample_weight))
        scores, indicators = (
            ops.cast(ops.reshape(part, (-1,)), "float32")
            for part in (scores, indicators)
        )
        valid = ops.ones_like(scores) if weights is None else weights > 0
        self._rank_tracker.update_state(
            rank_correlation(scores, indicators, valid),
            sample_weight=ops.sum(ops.cast(valid, "float32")),
        )
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def group_embedder(self, keep=None, rescale_above=2, threshold=0.0):
        """What deploys: one vector of a group of images.

        Args:
            keep: None, or how many images of a group are embedded, the best by score.
            rescale_above: See `pool_groups`.
            threshold: See `pool_groups`.

        Returns:
            A `keras.Model`, see `models.group_embedder`. It shares its weights with
            embedder and scorer.
        """
        return models.group_embedder(
            self.embedder,
            self.scorer,
            keep=keep,
            rescale_above=rescale_above,
            threshold=threshold,
        )

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self):
        return {
            **super().get_config(),
            "embedder": keras.saving.serialize_keras_object(self.embedder),
            "scorer": keras.saving.serialize_keras_object(self.scorer),
            "floor": self.floor,
            "leave_one_out": self.leave_one_out,
            "centroids": self.centroids,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        restore = keras.saving.deserialize_keras_object
        for part in ("embedder", "scorer"):
            config[part] = restore(config[part], custom_objects)
        return cls(**config)


def _as_list(metrics):
    return [] if metrics is None else keras.tree.flatten(metrics)
