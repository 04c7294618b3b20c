"""Last epoch's student, its likenesses spread over the batch, teaches this epoch's.

OBD-SD: Zeng, Yang, Liu, Satoh, "Self-distillation with Online Diffusion on Batch
Manifolds Improves Deep Metric Learning", 2022, https://arxiv.org/abs/2211.07566.
Without the diffusion it is their progressive self-distillation, PSD.
"""

import keras
from keras import ops

from keras_distill import ranges
from keras_distill.callbacks.student_snapshot import StudentSnapshot
from keras_distill.methods.batch_diffusion import (
    batch_diffusion,
    check_settings,
    diffusion_kl,
)
from keras_distill.methods.kept_state import add_state
from keras_distill.methods.method import Method, Term
from keras_distill.models.tap import tap
from keras_distill.models.twin import copy_weights, twin_of


@keras.saving.register_keras_serializable(package="keras_distill")
class OBDSD(Method):
    """The student of the last epoch teaches, by its batch-diffused likenesses.

    In epoch `e` of `E`, counted from 0, the loss of `compile` gets

        weight * e / E * tau**2 * mean of diffusion_kl(batch_diffusion(t), f, tau)

    KL(target || student) row by row, in nats, with `f` the student's embeddings
    `(batch, dim)` and `t` those that a frozen copy of the student, taken at the end of
    epoch `e - 1`, has for the very same images. Neither is normalised here: the
    student's last layer should do that. A batch of one has divergence 0.

    The copy is not a moving average. `callbacks.StudentSnapshot`, which `fit` adds,
    takes it and raises the ramp `e / E`. The first epoch is plain training: the ramp is
    0, and neither the copy nor the diffusion is run. Each later step costs one forward
    pass.

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
            copied, or does not give rows; if the method serves another student already.
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
        check_settings(omega, tau, diffusion_tau, form)
        self.add_coefficient("weight", weight)
        self.add_coefficient("tau", tau, ranges.positive)
        self.add_coefficient("diffusion_tau", diffusion_tau, ranges.positive)
        self.omega = float(omega)
        self.form = form
        self.ramp = add_state(self, "ramp")
        self.taken = add_state(self, "taken", dtype="int32")
        self.snapshot = None
        self._student = lambda: None

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
            self.snapshot = twin_of(student)
        self.snapshot.trainable = False
        # In closures: as attributes, Keras would count and save the student again.
        self._student = lambda: student
        view = None
        if len(getattr(student, "outputs", ())) > 1:
            view = tap(self.snapshot, ["embedding"])
        self._tapped = lambda: view

    def build(self, shapes):
        shape = shapes["output"]
        if not isinstance(shape, tuple) or len(shape) != 2:
            raise ValueError(
                f"{self.name!r} compares embeddings, (batch, dim). "
                f"Received: a student whose output is of shape {shape}"
            )
        super().build(shapes)

    def take_snapshot(self):
        """Copies the student's weights, as they are now, into the snapshot."""
        copy_weights(self._student(), self.snapshot)
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
