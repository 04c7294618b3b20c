"""Mathematics of (batch, batch) matrices: who resembles whom, and by how much.

All functions compute in float32 whatever they are given: under mixed precision a
half-precision cosine loses the differences of 1e-3 that these methods live on. (On
NVIDIA GPUs TensorFlow multiplies float32 matrices with 10-bit mantissas, TF32, unless
`tf.config.experimental.enable_tensor_float_32_execution(False)` forbids it.)
"""

import numbers

from keras import ops

from keras_distill import ranges

METRICS = ("L2", "squared-L2", "angular")

# Rows shorter than 1e-12 have no direction, in float32 least of all.
_TINY = 1e-24


def normalize(x, axis=-1):
    """Scales rows to length 1.

    A row shorter than 1e-12 becomes zero and gets gradient 0: it has no direction
    that a step could improve. (`keras.ops.normalize` has no finite gradient there.)

    Args:
        x: Tensor `(..., dim)`, any dtype.
        axis: Integer, the axis that is scaled. Defaults to the last.

    Returns:
        Float32 tensor of the shape of `x`.
    """
    x = _float32(x)
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    has_direction = squares > _TINY
    # Both branches of a `where` are differentiated: the unused one must be finite.
    scale = ops.rsqrt(ops.where(has_direction, squares, 1.0))
    return ops.where(has_direction, x * scale, 0.0)


def cosine_matrix(a, b=None):
    """Cosine of every row of `a` with every row of `b`.

    Args:
        a: Tensor `(batch, dim)`, any scale; rows are normalised here.
        b: Tensor `(other, dim)`, or `None` for `a` itself.

    Returns:
        Float32 tensor `(batch, other)` in [-1, 1] (up to rounding, 1e-7). Rows of
        length 0 have cosine 0 with everything, themselves included.

    Raises:
        ValueError: If an input is not of rank 2.
    """
    _check_rank_2(a=a, b=b)
    a = normalize(a)
    b = a if b is None else normalize(b)
    return ops.matmul(a, ops.transpose(b))


def squared_distances(a, b=None):
    """Squared Euclidean distance of every row of `a` to every row of `b`.

    From inner products, so in (batch, other) memory. Rounding leaves an error of
    about 1e-7 times the squared norms, where TF32 is off (see the top of this module;
    with it equal unit rows come out 0.01 to 0.03 apart). Negative values are clamped
    to 0 and, for `b=None`, the diagonal is exactly 0.

    Args:
        a: Tensor `(batch, dim)`.
        b: Tensor `(other, dim)`, or `None` for `a` itself.

    Returns:
        Float32 tensor `(batch, other)`, >= 0.

    Raises:
        ValueError: If an input is not of rank 2.
    """
    _check_rank_2(a=a, b=b)
    a = _float32(a)
    with_itself = b is None
    b = a if with_itself else _float32(b)
    squares_a = ops.sum(ops.square(a), axis=1, keepdims=True)  # (batch, 1)
    squares_b = ops.transpose(ops.sum(ops.square(b), axis=1, keepdims=True))
    squared = squares_a + squares_b - 2.0 * ops.matmul(a, ops.transpose(b))
    squared = ops.maximum(squared, 0.0)
    if with_itself:
        squared = squared * (1.0 - ops.eye(ops.shape(a)[0], dtype="float32"))
    return squared


def distances(a, b=None, metric="L2"):
    """Distance of every row of `a` to every row of `b`.

    Args:
        a: Tensor `(batch, dim)`.
        b: Tensor `(other, dim)`, or `None` for `a` itself; then the diagonal is 0.
        metric: `"L2"` (Euclidean), `"squared-L2"`, or `"angular"` (1 - cosine, in
            [0, 2], of rows normalised here). The names of tensorflow-addons.

    Returns:
        Float32 tensor `(batch, other)`, >= 0. The gradient of the L2 distance of
        two equal rows, which does not exist, is 0.

    Raises:
        ValueError: If `metric` is unknown or an input is not of rank 2.
    """
    check_metric(metric)
    if metric == "angular":
        angular = ops.maximum(1.0 - cosine_matrix(a, b), 0.0)
        if b is None:
            angular = angular * (1.0 - ops.eye(ops.shape(a)[0], dtype="float32"))
        return angular
    squared = squared_distances(a, b)
    return squared if metric == "squared-L2" else safe_sqrt(squared)


def safe_sqrt(x):
    """Square root of `x` >= 0 whose gradient at 0 is 0 instead of infinite."""
    positive = x > 0.0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, 1.0)), 0.0)


def check_metric(metric, argument="metric"):
    """Raises ValueError that names `argument` unless `distances` knows `metric`."""
    if metric not in METRICS:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(METRICS)}. "
            f"Received: {argument}={metric!r}"
        )


def relational_kl(target, student, temperature=1.0):
    """KL(target || student) between the rows of two cosine matrices.

    Row `i` of a cosine matrix says how much example `i` resembles every example of
    the batch, itself included; a softmax makes that row a distribution:

        p = softmax(cos(target) / T),  q = softmax(cos(student) / T)
        loss[i] = T**2 * sum_j p[i, j] * (log p[i, j] - log q[i, j])

    Only the batch sizes must agree: a 2048-d target teaches a 64-d student with no
    projection. The batch is the vocabulary: a batch of one has loss 0. At small `T`
    each example's likeness to itself (cosine 1) fills its row and the loss vanishes.
    Values are small, 1e-3 to 5e-2 at `T = 1`: hence weights such as 50.

    Args:
        target: Tensor `(batch, target_dim)`, any scale; gets no gradient.
        student: Tensor `(batch, dim)`, any scale.
        temperature: Positive float dividing the cosines. `T**2` undoes the `1 / T**2`
            that softening puts on the gradient.

    Returns:
        Float32 tensor `(batch,)`, in nats times `T**2`; >= 0, and 0 where rows agree.

    Raises:
        ValueError: If `temperature` is not positive and finite, an input is not of
            rank 2, or the batch sizes differ.

    References:
        S2SD, Roth et al., ICML 2021, https://arxiv.org/abs/2009.08348; the mean of
        the rows is what the authors' released criterion computes.
    """
    if isinstance(temperature, numbers.Real):
        ranges.positive(temperature=temperature)
    _check_rank_2(target=target, student=student)
    if len({target.shape[0], student.shape[0]} - {None}) > 1:
        raise ValueError(
            "Target and student must be embeddings of the same batch. Received: "
            f"target.shape={target.shape}, student.shape={student.shape}"
        )
    log_p = ops.log_softmax(ops.stop_gradient(cosine_matrix(target)) / temperature)
    log_q = ops.log_softmax(cosine_matrix(student) / temperature)
    # Staying in log space keeps 0 * log(0) out: exp(log_p) may round to 0.
    return temperature**2 * ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)


def _float32(x):
    return ops.cast(ops.convert_to_tensor(x), "float32")


def _check_rank_2(**tensors):
    for name, tensor in tensors.items():
        if tensor is not None and len(tensor.shape) != 2:
            raise ValueError(
                f"`{name}` must have shape (batch, dim). "
                f"Received: {name}.shape={tensor.shape}"
            )
