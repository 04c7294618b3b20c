"""Measure average precision after an epoch, where other callbacks can act on it."""

import keras

from keras_distill.metrics.detect import detector_report

FIGURES = ("ap", "ap50", "ap75", "ar")


class DetectionEvaluation(keras.callbacks.Callback):
    """Detects on a data set at the end of an epoch and logs COCO's figures.

    `logs` gets `val_ap`, `val_ap50`, `val_ap75` and `val_ar`, in [0, 1], higher is
    better. List it before the callbacks that are to see them. Choosing an epoch by the
    images one reports on flatters the result: monitor images set apart.

    The student of a `Distiller` is measured, any other model as it is, in inference
    mode.

    Args:
        boxes: A `data.BoxSet`.
        every: Measure after each `every`-th epoch, and after the first and the last of
            a `fit`. The epochs between repeat the last figures, so that every row of a
            log has them.
        batch_size: Images a step.
        prefix: What the names in `logs` begin with.

    Attributes:
        last: Dictionary of `metrics.detection_report`; None before the first.
        history: List of these, one for each measurement, with `"epoch"` from 0.

    Raises:
        ValueError: If `every` or `batch_size` is no positive integer; while training,
            as `metrics.detect` does.
    """

    def __init__(self, boxes, every=1, batch_size=8, prefix="val_"):
        super().__init__()
        for name, value in ("every", every), ("batch_size", batch_size):
            if isinstance(value, bool) or int(value) != value or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value}"
                )
        self.boxes = boxes
        self.every, self.batch_size, self.prefix = every, batch_size, prefix
        self.last, self.history = None, []

    def on_train_begin(self, logs=None):
        self.last, self.history = None, []

    def on_epoch_end(self, epoch, logs=None):
        number = epoch + 1
        final = number == (self.params or {}).get("epochs")
        if self.last is None or final or number % self.every == 0:
            self.last = detector_report(self.model, self.boxes, self.batch_size)
            self.history.append({"epoch": epoch, **self.last})
        if logs is not None:
            logs.update({self.prefix + name: self.last[name] for name in FIGURES})
