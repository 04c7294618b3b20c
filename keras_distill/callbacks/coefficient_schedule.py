"""Change a weight or a temperature of a method while training."""

import contextlib

import keras

EVERY = ("epoch", "step")


class CoefficientSchedule(keras.callbacks.Callback):
    """Assigns a coefficient of a method from a schedule.

        s2sd = kd.S2SD()
        distiller.fit(batches, epochs=20, callbacks=[
            kd.callbacks.CoefficientSchedule(s2sd, "weight", lambda epoch: 5 * epoch),
            kd.callbacks.CoefficientSchedule(
                s2sd, "temperature",
                keras.optimizers.schedules.CosineDecay(1.0, 2000, alpha=0.2), "step"),
        ])

    The value holds from the beginning of the epoch or step, and stays when training
    ends. It is saved with the distiller; a resumed run computes it from the number of
    its epoch or step.

    Args:
        method: A `keras_distill.methods.Method` of the model that is trained, or one
            inside such a method.
        name: String, which coefficient: `"weight"`, `"temperature"`, ...
        schedule: Callable from an integer that counts from 0 to a number in the range
            of the coefficient, which is that of the method's argument. A
            `keras.optimizers.schedules.LearningRateSchedule` is one.
        every: `"epoch"`, when the schedule gets the number of the epoch; or `"step"`,
            when it gets the updates that the optimizer has made. With
            `steps_per_execution` above 1, the steps of an execution share the value of
            the first.

    Attributes:
        method: As given.

    Raises:
        ValueError: If the method has no such coefficient (those it has are listed); if
            `every` is neither of the two; when training begins, if the method is not
            part of the model; while training, if the schedule gives a number out of
            range, such as a temperature of 0. The coefficient then keeps its value.
        TypeError: If `schedule` cannot be called.
    """

    def __init__(self, method, name, schedule, every="epoch"):
        super().__init__()
        known = sorted(method.coefficients)
        if name not in known:
            raise ValueError(
                f"`name` must be a coefficient of {method.name!r}: "
                f"{', '.join(known) or 'it has none'}. Received: name={name!r}"
            )
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be callable: a number from the count of epochs or "
                f"steps. Received: schedule={schedule!r}"
            )
        if every not in EVERY:
            raise ValueError(f"`every` must be one of {EVERY}. Received: {every=}")
        self.method = method
        self.name, self.schedule, self.every = name, schedule, every
        self._coefficient = getattr(method, name)

    def on_train_begin(self, logs=None):
        if not any(v is self._coefficient for v in self.model.variables):
            raise ValueError(
                "The method must belong to the model that is trained, or its "
                "coefficient would be changed for nothing. "
                f"Received: method={self.method.name!r}, model={self.model.name!r}"
            )

    def on_epoch_begin(self, epoch, logs=None):
        if self.every == "epoch":
            self._assign(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.every == "step":
            self._assign(int(self.model.optimizer.iterations.numpy()))

    def _assign(self, count):
        value = self.schedule(count)
        with contextlib.suppress(TypeError, ValueError):  # The check says it better.
            value = float(value)
        try:
            self.method.check_coefficient(self.name, value)
        except ValueError as error:
            raise ValueError(
                f"The schedule of {self.name!r} gave {value!r} for {self.every}="
                f"{count}: {error}"
            ) from error
        self._coefficient.assign(value)
