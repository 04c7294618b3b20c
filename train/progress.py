"""What a run keeps of each epoch, and how it goes on after an interruption."""

import csv
import io
import json
import pathlib
import time

import keras

from keras_distill import atomic


class Stopwatch(keras.callbacks.Callback):
    """Adds `seconds` to the logs of an epoch: its training steps, nothing else.

    Goes first in the list of callbacks, before what evaluates.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs["seconds"] = time.perf_counter() - self._began


class EpochLine(keras.callbacks.Callback):
    """Prints one line an epoch, for output that is no terminal.

    Args:
        images: Integer, how many images an epoch trains on.
    """

    def __init__(self, images):
        super().__init__()
        self.images = images

    def on_epoch_end(self, epoch, logs=None):
        line = f"epoch {epoch + 1}/{self.params['epochs']}  loss {logs['loss']:.4f}"
        for name in ("val_recall_at_1", "val_map_at_r", "val_ap", "val_ap50"):
            if name in logs:
                line += f"  {name} {logs[name]:.4f}"
        rate = self.images / logs["seconds"]
        print(f"{line}  {logs['seconds']:.1f} s  {rate:.0f} images/s", flush=True)


class Record(keras.callbacks.Callback):
    """Keeps the history and a backup of every epoch; goes after what evaluates.

    A run that is interrupted loses the epoch it was in and no more: `fit` with
    `initial_epoch=record.epochs_done` goes on with the weights, the optimiser and
    the best student of the last finished epoch.

    Args:
        out: Path of the run folder.
        monitor: String, a log whose highest value makes the best student; `None` to
            keep none. Ties go to the earlier epoch.
        resume: Whether to go on from the backup in the folder, if there is one yet.

    Attributes:
        rows: List of one dictionary an epoch, as in `history.csv`.
        best: `None`, or a dictionary with `epoch` (from 1) and the file `student`.
    """

    def __init__(self, out, monitor=None, resume=False):
        super().__init__()
        self.out = pathlib.Path(out)
        self.monitor = monitor
        self.rows, self.best, self._weights = [], None, None
        if resume and self._state_file.exists():
            state = json.loads(self._state_file.read_text())
            self.rows, self.best = state["rows"], state["best"]
            self._weights = state["weights"]

    @property
    def epochs_done(self):
        """Integer: the epochs that the backup knows of."""
        return len(self.rows)

    @property
    def best_student(self):
        """Path of the best student, `None` if none was asked for."""
        return self.best and self.out / "backup" / self.best["student"]

    def on_train_begin(self, logs=None):
        if self._weights is None:
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        self.model.load_weights(self.out / "backup" / self._weights)

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append(
            {"epoch": epoch + 1, **{name: float(logs[name]) for name in logs}}
        )
        if self.monitor is not None and self._is_best(self.rows[-1][self.monitor]):
            self.best = {
                "epoch": epoch + 1,
                "value": self.rows[-1][self.monitor],
                "student": f"student_{epoch + 1:05d}.keras",
            }
            self.model.student.save(self.best_student)
        # The state is what names the files: until it is replaced, the files of the
        # epoch before are the backup, and they are still there.
        self._weights = f"epoch_{epoch + 1:05d}.weights.h5"
        self.model.save_weights(self._state_file.with_name(self._weights))
        self._write_history()
        state = {"rows": self.rows, "best": self.best, "weights": self._weights}
        atomic.write_text(self._state_file, json.dumps(state))
        kept = {"state.json", self._weights, self.best and self.best["student"]}
        for path in self._state_file.parent.iterdir():
            if path.name not in kept:
                path.unlink()

    @property
    def _state_file(self):
        return self.out / "backup" / "state.json"

    def _is_best(self, value):
        return self.best is None or value > self.best["value"]

    def _write_history(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        atomic.write_text(self.out / "history.csv", text.getvalue())
