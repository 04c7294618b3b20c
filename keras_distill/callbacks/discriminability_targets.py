"""Find out how discriminable each image is, before a scorer learns to see it."""

import keras

from keras_distill.callbacks.proxy_pass import refuse_endless, refuse_other_data


class DiscriminabilityTargets(keras.callbacks.Callback):
    """Computes what the scorer of a `DDL` learns, when training begins.

    Every image of the proxy set goes through the frozen embedder once; its features and
    labels give class centroids and with them each image's indicator, see
    `methods.ddl.discriminability`. The model gets the indicators by row. Then a few
    batches of what is trained on are read once more: a row that shows other pixels than
    the pass has seen would be taught the indicator of another image, and is refused.

    `fit` of a `DDL` adds one for the data set it trains on, before the callbacks given
    there. Give one yourself to train on a data set without an end, or to look at the
    indicators afterwards:

        views = kd.data.proxy_views(proxy, kd.data.FixedViews(degradation, count=4))
        targets = kd.callbacks.DiscriminabilityTargets(views)
        ddl.fit(views.repeat(), epochs=50, steps_per_epoch=100, callbacks=[targets])
        worst = np.argsort(targets.indicator)[:20]

    Indicators are derived data: each `fit` computes them, a resumed one too, and
    they are not saved. What a resumed run may differ in is the order of its batches,
    where that is another one in each pass. A loop of `train_on_batch` runs no callbacks
    by itself: `ddl.take_targets(views)` does the same.

    Args:
        proxy: Finite `tf.data.Dataset` of batches `({"image": (B, H, W, C), "row": (B,)
            integers}, labels (B,) integers)`; a pass shows each of the rows 0 .. R - 1
            once, in any order.
        validation: The same of the data that `fit` validates on, with rows, classes,
            centroids, mean and std of its own. `None` for the validation data
            themselves.

    Attributes:
        ratio: float64 `(R,)`, of each row the cosine with its own class's centroid over
            the largest with another's. `None`, as all of these, before training.
        mean, std: Floats, of the valid ratios.
        indicator: float64 `(R,)` in (0, 1), what the scorer learns.
        valid: Booleans `(R,)`: which rows it learns from.
        labels: Integers `(R,)`.

    Raises:
        TypeError: If `proxy` or `validation` is no `tf.data.Dataset`; when training
            begins, if the model is no `DDL`.
        ValueError: If they yield something else or have no end; when training begins,
            as `DDL.take_targets` does.
    """

    def __init__(self, proxy, validation=None):
        super().__init__()
        refuse_other_data(proxy=proxy)
        refuse_endless(proxy=proxy)
        if validation is not None:
            refuse_other_data(validation=validation)
            refuse_endless(validation=validation)
        self.proxy, self.validation = proxy, validation
        self.ratio = self.mean = self.std = self.indicator = self.valid = None
        self.labels = None
        self._trained, self._validated = proxy, validation

    def will_see(self, trained, validated=None):
        """Receives what `fit` trains and validates on.

        Args:
            trained: Data set of the rows of `proxy`; may go on without end.
            validated: The same for `validation`, or `None`.

        Raises:
            ValueError: If `validated` has no end and there is no `validation`.
        """
        if validated is not None and self.validation is None:
            refuse_endless(validation=validated)
        self._trained, self._validated = trained, validated

    def on_train_begin(self, logs=None):
        take = getattr(self.model, "take_targets", None)
        if take is None:
            raise TypeError(
                "DiscriminabilityTargets belongs to the `fit` of a DDL. "
                f"Received: model={self.model!r} of type {type(self.model).__name__}"
            )
        verbose = bool((self.params or {}).get("verbose"))
        measured, self.labels = take(self.proxy, self._trained, verbose=verbose)
        self.ratio, self.mean, self.std, self.indicator, self.valid = measured
        if self._validated is not None:
            source = self._validated if self.validation is None else self.validation
            take(source, self._validated, held_out=True, verbose=verbose)
