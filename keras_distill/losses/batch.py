"""What every loss over a batch of embeddings begins with: rows, pairs and means."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

# exp(_NOTHING - anything ordinary) is 0 and, unlike -inf, it survives subtraction.
_NOTHING = -1e30


def read_batch(labels, embeddings):
    """Checks one batch and brings it to the shapes the formulas are written for.

    Args:
        labels: Tensor `(batch,)` or `(batch, 1)` of class numbers, integers or
            integers stored as floats (`keras.losses.Loss` makes them float32, which
            holds integers up to 2**24 exactly).
        embeddings: Float tensor `(batch, dim)` of any precision.

    Returns:
        Labels `(batch,)` and embeddings `(batch, dim)` float32.

    Raises:
        ValueError: If the shapes are others, or the batch sizes differ.
    """
    labels = ops.convert_to_tensor(labels)
    embeddings = ops.convert_to_tensor(embeddings)
    received = (
        f"Received: labels.shape={tuple(labels.shape)}, "
        f"embeddings.shape={tuple(embeddings.shape)}"
    )
    if len(embeddings.shape) != 2:
        raise ValueError(f"Embeddings must have shape (batch, dim). {received}")
    if len(labels.shape) == 2 and labels.shape[1] == 1:
        labels = ops.squeeze(labels, axis=1)
    if len(labels.shape) != 1:
        raise ValueError(
            "Labels must be class numbers of shape (batch,) or (batch, 1), not "
            f"one-hot rows. {received}"
        )
    if len({labels.shape[0], embeddings.shape[0]} - {None}) > 1:
        raise ValueError(f"There must be one label for each embedding. {received}")
    return labels, ops.cast(embeddings, "float32")


def pair_masks(labels):
    """Which pairs of a batch are of one class, and which are not.

    Args:
        labels: Tensor `(batch,)`.

    Returns:
        Two bool tensors `(batch, batch)`: positives (same class, not the example
        itself) and negatives (another class).
    """
    same = ops.equal(labels[:, None], labels[None, :])
    others = ops.logical_not(ops.eye(ops.shape(labels)[0], dtype="bool"))
    return ops.logical_and(same, others), ops.logical_not(same)


def count(mask, axis=None):
    """How many entries are true, as float32."""
    return ops.sum(ops.cast(mask, "float32"), axis=axis)


def masked_sum(x, mask, axis=-1):
    """Sum of the entries of `x` where `mask` is true."""
    return ops.sum(ops.where(mask, x, 0.0), axis=axis)


def masked_max(x, mask, axis=-1):
    """Largest entry where `mask` is true; -1e30 where it is nowhere true."""
    return ops.max(ops.where(mask, x, _NOTHING), axis=axis)


def masked_min(x, mask, axis=-1):
    """Smallest entry where `mask` is true; 1e30 where it is nowhere true."""
    return ops.min(ops.where(mask, x, -_NOTHING), axis=axis)


def masked_logsumexp(x, mask, axis=-1):
    """log of the sum of exp over the true entries; about -1e30 where there is none."""
    return ops.logsumexp(ops.where(mask, x, _NOTHING), axis=axis)


def log_one_plus_sum_exp(x, mask, axis=-1):
    """log(1 + sum of exp over the true entries), without overflow."""
    return ops.softplus(masked_logsumexp(x, mask, axis))


def mean_rows(totals, divisor):
    """Rows whose plain mean is `sum(totals) / divisor`.

    So a formula that divides by something else than the batch size (surviving
    anchors, pairs, active triplets) still gives Keras one value for each row.

    Args:
        totals: Tensor `(batch,)`, what each anchor adds.
        divisor: Float32 scalar >= 0; where it is 0 all rows are 0.

    Returns:
        Float32 tensor `(batch,)`.
    """
    batch = ops.cast(ops.shape(totals)[0], "float32")
    return ops.where(divisor > 0.0, totals * (batch / ops.maximum(divisor, 1.0)), 0.0)


def check_positive(**values):
    """Raises ValueError unless every value is a positive and finite number."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ValueError(
                f"`{name}` must be positive and finite. Received: {name}={value}"
            )


def check_choice(argument, value, choices):
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(choices)}. "
            f"Received: {argument}={value!r}"
        )


def sum_rows(totals):
    """Rows whose plain mean is the sum of `totals`."""
    return totals * ops.cast(ops.shape(totals)[0], "float32")


def read_triplets(triplets):
    """Checks triplets and makes them int32.

    Args:
        triplets: Int tensor `(triplets, 3)`: rows of anchor, positive and negative.

    Returns:
        Int32 tensor `(triplets, 3)`.

    Raises:
        ValueError: If the shape is another.
    """
    triplets = ops.cast(ops.convert_to_tensor(triplets), "int32")
    if len(triplets.shape) != 2 or triplets.shape[1] != 3:
        raise ValueError(
            "`triplets` must have shape (triplets, 3): rows of anchor, positive and "
            f"negative. Received: triplets.shape={tuple(triplets.shape)}"
        )
    return triplets


def gather(x, rows):
    """`x[rows]` with a dense gradient.

    Gathering along axis 0 has sparse slices for a gradient, which TensorFlow makes
    dense later, with a warning; along another axis it is dense at once.

    Args:
        x: Tensor `(n,)` or `(n, dim)`.
        rows: Int32 tensor `(m,)`, in `0 .. n - 1`.

    Returns:
        Tensor `(m,)` or `(m, dim)`.
    """
    if len(x.shape) == 1:
        return ops.squeeze(ops.take(x[None, :], rows, axis=1), axis=0)
    return ops.transpose(ops.take(ops.transpose(x), rows, axis=1))


def read_classes(labels, num_classes):
    """Checks that labels are classes, as loudly as the place allows.

    Args:
        labels: Tensor `(batch,)`.
        num_classes: Positive integer.

    Returns:
        Int32 tensor `(batch,)` clipped to `0 .. num_classes - 1`, because gathering
        out of range raises on some devices and reads zeros on others; and a bool
        tensor `(batch,)`, false where clipping changed a label.

    Raises:
        ValueError: If a label is outside and this runs eagerly. In a graph only the
            caller can make it seen.
    """
    labels = ops.cast(labels, "int32")
    valid = ops.logical_and(labels >= 0, labels < num_classes)
    if not tf.inside_function() and not np.all(valid):
        wrong = np.unique(np.asarray(labels)[~np.asarray(valid)])
        raise ValueError(
            f"Labels must lie in 0..{num_classes - 1}, for there are {num_classes} "
            f"classes. Received: labels={wrong[:5].tolist()}"
        )
    return ops.clip(labels, 0, num_classes - 1), valid


def mark_invalid(value, valid):
    """NaN instead of the value of a row whose label is no class.

    The NaN is a constant: it is seen in the logs and gives no gradient, so the
    weights survive it.

    Args:
        value: Float tensor `(batch,)`, or a scalar, which is NaN if any row is invalid.
        valid: Bool tensor `(batch,)`.
    """
    valid = valid if len(value.shape) else ops.all(valid)
    return ops.where(valid, value, float("nan"))


def class_masks(labels, proxies):
    """Which proxy is an example's own.

    Args:
        labels: Tensor `(batch,)`.
        proxies: Tensor `(classes, dim)`.

    Returns:
        Two bool tensors `(batch, classes)`, the own class and the others, and a bool
        tensor `(batch,)`, false where the label is no class: see `read_classes`.

    Raises:
        ValueError: If a label is outside `0 .. classes - 1` and this runs eagerly.
    """
    num_classes = proxies.shape[0]
    labels, valid = read_classes(labels, num_classes)
    own = ops.equal(labels[:, None], ops.arange(num_classes, dtype="int32")[None, :])
    return own, ops.logical_not(own), valid
