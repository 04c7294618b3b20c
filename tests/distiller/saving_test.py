"""A distiller that was saved goes on where it was."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import methods
from keras_distill.tflite.graph import read_graph
from tests.distiller.nets import DATA, IMAGES, compiled, same, student, teacher, values


def test_a_loaded_distiller_trains_on_where_it_was(tmp_path):
    def make():
        return compiled(
            with_methods=[kd.S2SD((4,), pooling="avg", feature_delay=4)],
            loss=kd.losses.ProxyAnchor(4),
            optimizer=keras.optimizers.Adam(1e-2),
        )

    distiller = make()
    distiller.fit(DATA.repeat(3), verbose=0)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert int(loaded.optimizer.iterations) == 3
    assert int(loaded.methods[0].steps) == 3
    ours = distiller.fit(DATA.repeat(3), verbose=0).history["loss"]
    theirs = loaded.fit(DATA.repeat(3), verbose=0).history["loss"]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    same(values(distiller), values(loaded))


def test_branches_of_a_feature_map_are_loaded_too(tmp_path):
    net = kd.models.embedder("conv4_4", (16, 16, 1), 3)
    images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 1)).astype("float32")
    distiller = kd.Distiller(net, [kd.S2SD((4,), pooling="avg+max")])
    distiller.compile("adam", loss=kd.losses.MultiSimilarity())
    distiller.fit(images, np.arange(8) % 2, verbose=0)
    distiller.save(tmp_path / "d.keras")
    same(values(distiller), values(keras.models.load_model(tmp_path / "d.keras")))


def test_an_interrupted_run_resumes_from_a_backup_without_a_first_call(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def run(folder, callbacks=()):
        keras.utils.set_random_seed(7)
        distiller = compiled(
            with_methods=[kd.S2SD((4,), pooling="avg", feature_delay=4)],
            optimizer=keras.optimizers.Adam(1e-2),
        )
        backup = keras.callbacks.BackupAndRestore(folder)
        distiller.fit(
            DATA.repeat(3), epochs=4, verbose=0, callbacks=[backup, *callbacks]
        )
        return distiller

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", [Interrupt()])
    resumed = run(tmp_path / "broken")
    assert int(resumed.methods[0].steps) == 12
    same(values(whole.student), values(resumed.student), rtol=1e-4)


def test_checkpoints_can_follow_any_term(tmp_path):
    distiller = compiled(with_methods=[kd.S2SD((4,), pooling="avg")])
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="val_s2sd_distillation", mode="min"
    )
    distiller.fit(DATA, validation_data=DATA, callbacks=[checkpoint], verbose=0)
    assert (tmp_path / "best.keras").exists()


def test_the_student_saves_and_loads_alone(tmp_path):
    distiller = compiled(with_methods=[kd.S2SD((64,), pooling="avg")])
    distiller.fit(DATA, verbose=0)
    distiller.student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    assert loaded.count_params() == student().count_params()
    np.testing.assert_allclose(loaded(IMAGES), distiller.student(IMAGES), rtol=1e-6)


def test_nothing_that_only_trained_the_student_is_in_its_file():
    distiller = compiled(
        with_methods=[
            kd.S2SD((64,), pooling="avg"),
            kd.OBDSD(),
            kd.PAD(methods.FeatureL2(), warm_up=1),
        ],
        loss=kd.losses.ProxyAnchor(4),
        teacher=teacher(),
    )
    distiller.fit(DATA, epochs=2, verbose=0)
    bare = student()
    bare.set_weights(distiller.student.get_weights())
    files = [kd.tflite.convert(model) for model in (distiller, bare)]
    names = [[op.name for op in read_graph(file).operators] for file in files]
    assert names[0] == names[1] and "L2_NORMALIZATION" in names[0]
    assert len(files[0]) == pytest.approx(len(files[1]), abs=200)  # names of layers
