"""Likenesses of a batch, spread over it, as soft targets.

The mathematics of OBD-SD: Zeng, Yang, Liu, Satoh, "Self-distillation with Online
Diffusion on Batch Manifolds Improves Deep Metric Learning", 2022,
https://arxiv.org/abs/2211.07566.
"""

import numbers

from keras import ops

from keras_distill import ranges

FORMS = ("softmax", "symmetric")


def batch_diffusion(teacher, omega, tau=1.0, diffusion_tau=1.0, form="softmax"):
    """What a teacher says of a batch, spread along the likenesses within the batch.

    With `A = teacher teacher^T`, diagonal 1, every image of the batch is a node of a
    graph, and a random walk on it restarts with probability `1 - omega` at each step.

    `form="softmax"`, that of the authors' released code and commands, first makes
    distributions and then diffuses them:

        P = softmax over j != i of A / diffusion_tau,  P_ii = 0
        Q = softmax(A / tau),  diagonal kept
        target = (1 - omega) * (I - omega P)^-1 Q

    `form="symmetric"`, their paper's, first diffuses likenesses:

        S = D^-1/2 A' D^-1/2,  A' = A with diagonal 0,  D = row sums of A' + 1e-12
        target = softmax((1 - omega) * (I - omega S)^-1 A / tau)

    There a row whose likenesses sum to less than 0 has no square root and would make
    the whole target NaN. We clamp the negative entries of A' at 0: images that point
    away from each other are not linked. Targets of teachers that have none (after a
    last ReLU, say) are the paper's.

    Everything is float32, by a dense solve of the whole batch: 0.5 ms for 112 rows on
    one core, 1.3 ms under XLA. Rounding grows with `omega`; the largest relative error
    of an entry over batches of 56 to 512 and `diffusion_tau` 1, 0.05 and 0.005 was

        omega        0.3    0.9    0.99   0.999  0.99999
        softmax      1e-6   4e-6   2e-5   2e-4   2e-2
        under XLA    2e-6   6e-6   4e-5   6e-4   of no use
        symmetric    5e-7   4e-7   4e-7   8e-7   7e-4

    Before they are returned, the rows of the softmax form are divided by their sum,
    which is 1 but for that error; the authors' code leaves them as they are.

    With `omega=0` nothing is solved and the target is `Q`, in both forms. Towards
    `omega=1` the rows of the softmax form all tend to the stationary distribution
    of P, which at `diffusion_tau=1` is nearly uniform. A batch of one has target 1.

    Args:
        teacher: Tensor `(batch, dim)` of unit rows; not normalised again, and gets
            no gradient.
        omega: Float in [0, 1): how far likenesses spread, `omega / (1 - omega)` steps
            on average.
        tau: Float > 0, divides what the target is a softmax of.
        diffusion_tau: Float > 0, of P in the softmax form; the symmetric form has
            none. Cosines lie in [-1, 1]: only a small one, such as 0.05, links
            neighbours rather than everyone with everyone.
        form: `"softmax"` or `"symmetric"`.

    Returns:
        Float32 tensor `(batch, batch)`, rows are distributions.

    Raises:
        ValueError: If `omega`, `tau`, `diffusion_tau` or `form` is not as above, or
            `teacher` is not of rank 2.
    """
    check_settings(omega, tau, diffusion_tau, form)
    teacher = ops.stop_gradient(_rows(teacher=teacher))
    likeness = ops.matmul(teacher, ops.transpose(teacher))  # (B, B)
    if likeness.shape[0] == 1:  # Keras warns of a softmax over one number.
        return ops.ones_like(likeness)
    soft = ops.softmax(likeness / tau)
    if isinstance(omega, numbers.Real) and omega == 0:
        return soft
    count = ops.shape(likeness)[0]
    itself = ops.eye(count, dtype="bool")
    if form == "symmetric":
        links = ops.where(itself, 0.0, ops.maximum(likeness, 0.0))
        scale = ops.rsqrt(ops.sum(links, axis=-1) + 1e-12)
        walk = links * scale[:, None] * scale[None, :]
        diffused = ops.solve(ops.eye(count) - omega * walk, likeness)
        return ops.softmax((1 - omega) * diffused / tau)
    # A batch of one has nobody to go to: a finite number keeps its softmax finite.
    others = ops.softmax(ops.where(itself, -1e30, likeness / diffusion_tau))
    walk = ops.where(itself, 0.0, others)
    target = ops.solve(ops.eye(count) - omega * walk, soft)
    return target / ops.sum(target, axis=-1, keepdims=True)


def diffusion_kl(target, student, tau=1.0):
    """KL(target || student) of each row of a batch.

        q = softmax(student student^T / tau),  diagonal kept
        loss[i] = sum_j target[i, j] * (log target[i, j] - log q[i, j])

    The factor `tau**2`, which undoes what softening does to the gradient, is left to
    the weight. Values are small, 1e-3 to 5e-2 at `tau=1`: hence weights of 75 to 1000.

    Args:
        target: Tensor `(batch, batch)` whose rows are distributions, as
            `batch_diffusion` gives it. Gets no gradient; entries may be 0.
        student: Tensor `(batch, dim)`, rows as they come: the formula does not
            normalise them, the student's last layer should.
        tau: Float > 0.

    Returns:
        Float32 tensor `(batch,)` in nats, >= 0 up to rounding. Its mean is the
        authors' divergence. A batch of one gives 0.

    Raises:
        ValueError: If `tau` is not positive and finite, or `student` is not of rank 2.
    """
    if isinstance(tau, numbers.Real):
        ranges.positive(tau=tau)
    target = ops.stop_gradient(_rows(target=target))
    student = _rows(student=student)
    log_q = ops.log_softmax(ops.matmul(student, ops.transpose(student)) / tau)
    # A small temperature lets entries of the target round to 0: 0 * log(0) is 0 here.
    some = target > 0
    log_p = ops.log(ops.where(some, target, 1.0))
    return ops.sum(ops.where(some, target * (log_p - log_q), 0.0), axis=-1)


def check_settings(omega, tau, diffusion_tau, form):
    """Raises ValueError unless these are as `batch_diffusion` wants them.

    Tensors and variables pass: what they will be is not known.
    """
    if isinstance(omega, numbers.Real) and not 0 <= omega < 1:
        raise ValueError(
            "`omega` must lie in [0, 1): at 1 the matrix I - omega P has no inverse, "
            f"and above it the walk does not converge. Received: omega={omega}"
        )
    temperatures = {"tau": tau, "diffusion_tau": diffusion_tau}
    for name, value in temperatures.items():
        if isinstance(value, numbers.Real):
            ranges.positive(**{name: value})
    if form not in FORMS:
        raise ValueError(f"`form` must be one of {FORMS}. Received: {form=}")


def _rows(**tensors):
    ((name, tensor),) = tensors.items()
    tensor = ops.cast(ops.convert_to_tensor(tensor), "float32")
    if len(tensor.shape) != 2:
        raise ValueError(
            f"`{name}` must have shape (batch, dim). "
            f"Received: {name}.shape={tuple(tensor.shape)}"
        )
    return tensor
