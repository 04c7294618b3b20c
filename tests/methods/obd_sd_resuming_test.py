"""OBD-SD is saved with its distiller, and goes on where it was interrupted."""

import keras
import pytest

import keras_distill as kd
from tests.methods.obd_sd_cases import DATA, compiled, identical, student, values


def test_copy_and_ramp_are_saved_with_the_distiller(tmp_path):
    distiller = compiled(student(), [kd.OBDSD()])
    distiller.fit(DATA, epochs=4, verbose=0)
    distiller.fit(DATA, initial_epoch=2, epochs=3, verbose=0)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    (ours,), (theirs,) = distiller.methods, loaded.methods
    assert float(theirs.ramp) == float(ours.ramp) == pytest.approx(2 / 3)
    assert int(theirs.taken) == 1
    identical(theirs.snapshot.get_weights(), ours.snapshot.get_weights())
    logs = [m.evaluate(DATA, verbose=0, return_dict=True) for m in (distiller, loaded)]
    assert logs[0] == logs[1]


class Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch, step):
        super().__init__()
        self.at, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise KeyboardInterrupt


def test_an_interrupted_run_resumes_from_a_backup_bit_for_bit(tmp_path):
    def run(folder, callbacks=(), seed=7):
        keras.utils.set_random_seed(seed)
        distiller = compiled(student(), [kd.OBDSD()])
        backup = keras.callbacks.BackupAndRestore(tmp_path / folder)
        distiller.fit(DATA, epochs=4, verbose=0, callbacks=[backup, *callbacks])
        return distiller

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", [Interrupt(2, 0)])
    resumed = run("broken", seed=8)
    identical(values(whole.student), values(resumed.student))
    identical(values(whole.methods[0]), values(resumed.methods[0]))


def test_an_interrupted_run_resumes_from_its_weights_bit_for_bit(tmp_path):
    def make(seed=7):
        keras.utils.set_random_seed(seed)
        return compiled(student(), [kd.OBDSD()])

    whole = make()
    whole.fit(DATA, epochs=4, verbose=0)
    broken = make()
    with pytest.raises(KeyboardInterrupt):
        broken.fit(
            DATA,
            epochs=4,
            verbose=0,
            callbacks=[
                keras.callbacks.ModelCheckpoint(
                    tmp_path / "{epoch}.weights.h5", save_weights_only=True
                ),
                Interrupt(2, 1),
            ],
        )
    resumed = make(seed=8)
    resumed.optimizer.build(resumed.trainable_variables)
    resumed.load_weights(tmp_path / "2.weights.h5")
    resumed.fit(DATA, initial_epoch=2, epochs=4, verbose=0)
    identical(values(whole.student), values(resumed.student))
