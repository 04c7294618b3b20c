"""A target for each row of a data set, which a traced step looks up."""

import contextlib

import keras
import tensorflow as tf


class RowTargets:
    """A table from the number of a row to its target and its weight.

    A variable of unknown length: what has been traced takes a table of another length
    without being traced again. No layer and no weight: a model that holds it neither
    trains nor saves it.

    Attributes:
        serves: The data set these targets are for, where a model has to tell; or
            `None`.
    """

    def __init__(self):
        self.serves = None
        self._table = tf.Variable(
            tf.zeros((0, 2)), trainable=False, shape=(None, 2), name="row_targets"
        )

    def assign(self, targets, weights):
        """Replaces the table.

        Args:
            targets: Float `(R,)`.
            weights: Float or boolean `(R,)`.
        """
        columns = [tf.cast(column, tf.float32) for column in (targets, weights)]
        self._table.assign(tf.stack(columns, axis=1))

    def look_up(self, rows):
        """Targets and weights of some rows.

        Args:
            rows: Integer tensor `(B,)`.

        Returns:
            float32 `(B, 1)` and `(B,)`. A row beyond the table stops the step with
            `tf.errors.InvalidArgumentError`. (XLA leaves assertions out: there its
            target is NaN.)
        """
        rows = tf.cast(rows, tf.int64)
        count = tf.shape(self._table, out_type=tf.int64)[0]
        known = (rows >= 0) & (rows < count)
        said = (
            "No target was computed for some rows: `fit` and `evaluate` compute those "
            "of the data set they are given, train_on_batch and test_on_batch take "
            "those of `take_targets`."
        )
        check = tf.debugging.Assert(
            tf.reduce_all(known), [said, "Received: rows =", rows, "of", count]
        )
        # Tied to what the step needs: else an update might be made before the check.
        with tf.control_dependencies([check]):
            table = tf.concat([self._table, [[float("nan"), 1.0]]], axis=0)
        found = tf.gather(table, tf.where(known, rows, count))
        return found[:, :1], found[:, 1]

    def instead_of_labels(self, data):
        """A batch with its rows' targets for labels, and their weights among its own.

        Args:
            data: `(inputs, labels)` or `(inputs, labels, sample_weight)`, where
                `inputs` is a dictionary that holds the numbers of rows under `"row"`.

        Returns:
            `(inputs, targets (B, 1), weights (B,))`.
        """
        inputs, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        targets, weights = self.look_up(tf.convert_to_tensor(inputs["row"]))
        if sample_weight is not None:
            weights *= tf.cast(tf.reshape(sample_weight, (-1,)), tf.float32)
        return inputs, targets, weights

    @contextlib.contextmanager
    def put_back(self):
        """Restores the table of now at the end."""
        table = self._table.numpy()
        try:
            yield
        finally:
            self._table.assign(table)
