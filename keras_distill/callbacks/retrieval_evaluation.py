"""Measure retrieval after an epoch, where other callbacks can act on it."""

import keras

from keras_distill.metrics.embed import Embedder
from keras_distill.metrics.ranking import checked_ks
from keras_distill.metrics.retrieval_report import retrieval_report
from keras_distill.retrieval.exact_search import METRICS


class RetrievalEvaluation(keras.callbacks.Callback):
    """Embeds a gallery at the end of an epoch and logs its retrieval metrics.

    `logs` gets `val_recall_at_1`, ..., `val_map_at_r` and `val_nmi`, in [0, 1],
    higher is better. List it before the callbacks that are to see them:

        distiller.fit(batches, epochs=10, callbacks=[
            kd.callbacks.RetrievalEvaluation(gallery),
            keras.callbacks.ModelCheckpoint(
                "best.keras", monitor="val_recall_at_1", mode="max",
                save_best_only=True),
        ])

    Choosing an epoch by the classes one reports on flatters the result: monitor
    a validation part of the training classes.

    The student of a `Distiller` is embedded, any other model as it is, in
    inference mode; training goes on as if nothing had been measured.

    Args:
        gallery: An `ImageSet`, a finite `tf.data.Dataset` of batches `(images,
            labels)`, or a pair of arrays `(images, labels)`.
        queries: None, when each image of the gallery is a query and never its own
            answer; or, as `gallery`, queries that are not in it.
        ks: The K of Recall@K.
        nmi: Whether to cluster the gallery for `val_nmi`.
        every: Measure after each `every`-th epoch, and after the first and the
            last of a `fit`. The epochs between repeat the last figures, so that
            every row of a log has them and no callback misses its monitor:
            `ModelCheckpoint(save_best_only=True)` sees no gain in them, and
            `EarlyStopping` counts them towards its patience.
        batch_size: Images a step; a `tf.data.Dataset` keeps its own batches.
        prefix: What the names in `logs` begin with.
        metric: `"cosine"` or `"euclidean"`.

    Attributes:
        last: Dict of the last figures, without prefix; None before the first.
        history: Dict of lists, only what was measured, with the numbers of the
            epochs (from 0) under `"epoch"`.

    Raises:
        ValueError: If `ks`, `every`, `batch_size` or `metric` is not as above;
            while training, as `embed` and `retrieval_report` do.
    """

    def __init__(
        self,
        gallery,
        queries=None,
        ks=(1, 2, 4, 8),
        nmi=True,
        every=1,
        batch_size=256,
        prefix="val_",
        metric="cosine",
    ):
        super().__init__()
        for name, value in ("every", every), ("batch_size", batch_size):
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value}"
                )
        if metric not in METRICS:
            raise ValueError(f"`metric` must be one of {METRICS}. Received: {metric=}")
        self.gallery, self.queries = gallery, queries
        self.ks, self.nmi, self.metric = checked_ks(ks), nmi, metric
        self.every, self.batch_size, self.prefix = every, batch_size, prefix
        self.last, self.history = None, {}
        self._embedder = None

    def on_train_begin(self, logs=None):
        self.last, self.history = None, {}
        self._embedder = Embedder(self.model)

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        final = number == (self.params or {}).get("epochs")
        if self.last is None or final or number % self.every == 0:
            self.last = self._measured()
            for name, value in {"epoch": epoch, **self.last}.items():
                self.history.setdefault(name, []).append(value)
        if logs is not None:
            logs.update({self.prefix + name: v for name, v in self.last.items()})

    def _measured(self):
        embeddings, labels = self._embedder(self.gallery, self.batch_size)
        query_embeddings = query_labels = None
        if self.queries is not None:
            query_embeddings, query_labels = self._embedder(
                self.queries, self.batch_size
            )
        return retrieval_report(
            embeddings,
            labels,
            self.ks,
            query_embeddings,
            query_labels,
            self.metric,
            self.nmi,
        )
