"""Last epoch's student, its likenesses spread over the batch, teaches this epoch's.

OBD-SD: Zeng, Yang, Liu, Satoh, "Self-distillation with Online Diffusion on Batch
Manifolds Improves Deep Metric Learning", 2022, https://arxiv.org/abs/2211.07566.
Without the diffusion it is their progressive self-distillation, PSD.
"""

import numbers

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.callbacks.student_snapshot import StudentSnapshot
from keras_distill.methods.method import Method, Term
from keras_distill.models.tap import is_tappable, tap

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
    _check_settings(omega, tau, diffusion_tau, form)
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


@keras.saving.register_keras_serializable(package="keras_distill")
class OBDSD(Method):
    """The student of the last epoch teaches, by its batch-diffused likenesses.

    In epoch `e` of `E`, counted from 0, the loss of `compile` gets

        weight * e / E * tau**2 * mean of diffusion_kl(batch_diffusion(t), f, tau)

    with `f` the student's embeddings and `t` those that a frozen copy of the student,
    taken at the end of epoch `e - 1`, has for the very same images. The copy is not
    a moving average. `callbacks.StudentSnapshot`, which `fit` adds, takes it and
    raises the ramp `e / E`. The first epoch is plain training: the ramp is 0, and
    neither the copy nor the diffusion is run. Each later step costs one forward pass.

    `omega=0` is the authors' PSD, progressive self-distillation without diffusion.

    The copy runs in inference mode: the released code never puts it in evaluation
    mode, which makes no difference with the frozen batch normalisation it was run
    with. Layers of the student that augment images are off in the copy, so that
    augmentation belongs into the data, where both see the same. The copy is saved
    and resumed with the distiller; it is absent from the student.

    The authors' settings, for MultiSimilarity and batches of 112, two of a class:

        data       weight  omega  diffusion_tau  epochs
        CUB200     1000    0.3    1              150      the defaults
        CARS196    75      0.99   1              150
        SOP        100     0.5    0.005          100

    At `diffusion_tau=1` a batch's likenesses are almost equally far from each other
    and P nearly uniform: `omega=0.99` (CARS196) then makes the target nearly uniform
    too, entropy 0.9999 of the largest possible, so that it acts as an entropy
    regulariser on the student's likenesses. Neighbours are reached with a small
    `diffusion_tau` (SOP).

    Outside `fit` nothing raises the ramp, and the term stays 0, unless the loop runs
    the callback:

        epochs = keras.callbacks.CallbackList(
            [kd.callbacks.StudentSnapshot(method, epochs=20)], model=distiller)
        epochs.on_train_begin()
        for epoch in range(20):
            epochs.on_epoch_begin(epoch)
            for images, labels in batches:
                distiller.train_on_batch(images, labels)
            epochs.on_epoch_end(epoch)
        epochs.on_train_end()

    Args:
        weight: Float >= 0, what the ramp rises to (and does not reach).
        omega: Float in [0, 1), see `batch_diffusion`. Not a coefficient: a schedule
            must not reach 1.
        tau: Float > 0, of both distributions.
        diffusion_tau: Float > 0, of the walk over the batch; the symmetric form has
            none and ignores it.
        form: `"softmax"`, the released one, or `"symmetric"`, the paper's.
        name: Defaults to `"obd_sd"`.
        **kwargs: See `keras.layers.Layer`.

    Logs: `{name}_distillation`, nats; 0 in the first epoch, where it is not computed.

    Attributes:
        ramp: Scalar variable in [0, 1), saved.
        snapshot: The frozen copy, a `keras.Model`; `None` before there is a student.
        taken: Scalar variable, 1 once an epoch's student has been copied.

    Raises:
        ValueError: If an argument is out of its range; if the student cannot be
            copied; if the method serves another student already.
    """

    term_names = ("distillation",)

    def __init__(
        self,
        weight=1000.0,
        omega=0.3,
        tau=1.0,
        diffusion_tau=1.0,
        form="softmax",
        name="obd_sd",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        _check_settings(omega, tau, diffusion_tau, form)
        self.add_coefficient("weight", weight)
        self.add_coefficient("tau", tau, ranges.positive)
        self.add_coefficient("diffusion_tau", diffusion_tau, ranges.positive)
        self.omega = float(omega)
        self.form = form
        self.ramp = self._state("ramp", "float32")
        self.taken = self._state("taken", "int32")
        self.snapshot = None
        self._student = lambda: None

    def _state(self, name, dtype):
        return self.add_weight(
            name=name,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def take_student(self, student):
        if student is self._student():
            return
        if self.snapshot is not None:
            raise ValueError(
                "An OBDSD holds the snapshot of one student: make a new one for each "
                f"distiller. Received: student={student.name!r}, after "
                f"student={self._student().name!r}"
            )
        # In a scope of its own: variables are told apart by their paths.
        with keras.name_scope("snapshot"):
            self.snapshot = _twin(student)
        self.snapshot.trainable = False
        # In closures: as attributes, Keras would count and save the student again.
        self._student = lambda: student
        view = None
        if len(getattr(student, "outputs", ())) > 1:
            view = tap(self.snapshot, ["embedding"])
        self._tapped = lambda: view

    def take_snapshot(self):
        """Copies the student's weights, as they are now, into the snapshot."""
        _copy_weights(self._student(), self.snapshot)
        self.taken.assign(1)

    def rows(self, views):
        embeddings = ops.cast(views.embeddings, "float32")
        teacher = ops.cond(
            self.ramp > 0,
            lambda: self._ask_snapshot(views.images),
            lambda: ops.zeros_like(embeddings),
        )
        return {"teacher": ops.stop_gradient(teacher)}

    def _ask_snapshot(self, images):
        # Stateless: losses that layers add on their way belong to the student's pass
        # alone, and what the snapshot knows does not change by being asked.
        with keras.StatelessScope():
            if self._tapped() is not None:
                said = self._tapped()(images, training=False)["embedding"]
            else:
                said = self.snapshot(images, training=False)
        return ops.cast(keras.tree.flatten(said)[0], "float32")

    def terms(self, batch):
        embeddings = ops.cast(batch.embeddings, "float32")

        def divergence():
            target = batch_diffusion(
                batch.rows["teacher"],
                self.omega,
                self.tau,
                self.diffusion_tau,
                self.form,
            )
            return diffusion_kl(target, embeddings, self.tau)

        nothing = ops.zeros_like(embeddings[:, 0])
        values = ops.cond(self.ramp > 0, divergence, lambda: nothing)
        weight = self.weight * self.ramp * self.tau**2
        return {"distillation": Term(values, weight)}

    def schedules(self):
        return [StudentSnapshot(self)]

    def get_build_config(self):
        """`None`: what is built here is a copy of a student that comes later."""
        return None

    def get_config(self):
        return {**super().get_config(), "omega": self.omega, "form": self.form}


def _twin(student):
    """A model of the student's architecture with weights of its own."""
    try:
        if is_tappable(student):
            twin = keras.models.clone_model(student)
        else:
            twin = type(student).from_config(student.get_config())
            if not twin.built:
                twin.build_from_config(student.get_build_config())
    except Exception as error:
        raise _not_copied(student, str(error)) from error
    wanted, made = ([tuple(v.shape) for v in net.weights] for net in (student, twin))
    if wanted != made:
        reason = f"its weights have shapes {wanted}, those of the copy {made}"
        raise _not_copied(student, reason)
    _copy_weights(student, twin)
    return twin


def _copy_weights(student, twin):
    """Gives the twin the student's weights, and what layers compute from theirs."""
    twin.set_weights(student.get_weights())
    # An adapted Normalization calculates with constants that it made of its weights.
    # Keras has no public way to all layers, those within layers included. (Those that
    # have no weights, as Discretization, would be emptied.)
    for layer in twin._flatten_layers():
        if layer.weights and hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _not_copied(student, reason):
    return ValueError(
        "The student must be one that its configuration can copy: functional or "
        "sequential, or with `get_config` and `get_build_config` that say how it is "
        f"made. Received: student={student.name!r} of type "
        f"{type(student).__name__} ({reason})"
    )


def _check_settings(omega, tau, diffusion_tau, form):
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
