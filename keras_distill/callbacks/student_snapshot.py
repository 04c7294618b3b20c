"""Make the student of the last epoch the teacher of this one."""

import keras


class StudentSnapshot(keras.callbacks.Callback):
    """Copies the student at the end of each epoch, and raises the ramp of what it says.

    With `E` epochs in all, counted from 0: epoch `e` trains with `ramp = e / E`, one
    value for all its steps, and with the weights that the student had at the end of
    epoch `e - 1`. The first epoch has no teacher and a ramp of exactly 0; the last
    one stays below 1. A copy, not a moving average.

    `fit` of a `Distiller` adds it for `OBDSD`, before the callbacks given there, so
    that those that save find the copy done. Ramp and copy are variables of the
    method: a run that is resumed, by `BackupAndRestore` or with `initial_epoch`, goes
    on as if it had not stopped. Where no copy was saved with what is resumed, the
    student as it stands is the teacher.

    `E` is the `epochs` of `fit`, whether or not training stops earlier. Calling `fit`
    epoch by epoch, say how many there will be:

        snapshot = kd.callbacks.StudentSnapshot(method, epochs=20)
        for epoch in range(20):
            distiller.fit(batches, initial_epoch=epoch, epochs=epoch + 1,
                          callbacks=[snapshot])

    A loop of `train_on_batch` runs no callbacks by itself, and without this one the
    ramp stays 0:

        epochs = keras.callbacks.CallbackList([snapshot], model=distiller)
        epochs.on_train_begin()
        for epoch in range(20):
            epochs.on_epoch_begin(epoch)
            for images, labels in batches:
                distiller.train_on_batch(images, labels)
            epochs.on_epoch_end(epoch)
        epochs.on_train_end()

    Args:
        method: What learns from the snapshot, such as an `OBDSD`. Of it are used
            `ramp`, a scalar variable; `take_snapshot()`, which copies the student;
            and `taken`, a variable that is nonzero once it did.
        epochs: Integer of at least 2, the epochs in all; `None` for those of `fit`.

    Attributes:
        method: As given. `fit` adds no second one for the same method.

    Raises:
        ValueError: If `epochs` is out of its range; when training begins, if `fit` has
            one epoch, more than `epochs`, or does not say how many.
    """

    def __init__(self, method, epochs=None):
        super().__init__()
        if epochs is not None:
            _check(epochs, "")
        self.method = method
        self.epochs = epochs
        self._total = epochs

    def on_train_begin(self, logs=None):
        asked = (self.params or {}).get("epochs")
        if self.epochs is None:
            _check(
                asked,
                " Give `fit` the epochs; calling it epoch by epoch, give it "
                "callbacks=[StudentSnapshot(method, epochs=...)].",
            )
            self._total = asked
        elif asked is not None and asked > self.epochs:
            raise ValueError(
                "`fit` must not go beyond the epochs that StudentSnapshot was told "
                "of, or the ramp would exceed 1. "
                f"Received: epochs={asked}, StudentSnapshot(epochs={self.epochs})"
            )

    def on_epoch_begin(self, epoch, logs=None):
        if epoch and not self.method.taken.numpy():
            self.method.take_snapshot()
        self.method.ramp.assign(epoch / self._total)

    def on_epoch_end(self, epoch, logs=None):
        self.method.take_snapshot()


def _check(epochs, advice):
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 2:
        raise ValueError(
            "`epochs` must be an integer, 2 or more: each epoch learns from the "
            "student of the one before, and the first has no teacher, so that one "
            f"epoch would be plain training.{advice} Received: epochs={epochs}"
        )
