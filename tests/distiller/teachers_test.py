"""A teacher of any width, resolution and dtype, frozen and not saved twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_distill as kd
from keras_distill import methods
from tests.distiller.nets import DATA, IMAGES, LABELS, compiled, same, student, teacher


def test_a_teacher_may_have_another_width_resolution_and_dtype():
    distiller = compiled(
        with_methods=[methods.RelationalKL()],
        teacher=teacher(dim=32, size=9, dtype="uint8"),
        optimizer=keras.optimizers.Adam(1e-2),
        loss=None,
    )
    history = distiller.fit(DATA.repeat(30), epochs=3, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]


@pytest.mark.parametrize("size", [4, 6, 9, 15])
def test_images_are_resized_for_the_teacher_with_antialiasing(size):
    sized = teacher(size=size)
    distiller = compiled(with_methods=[methods.RelationalKL()], teacher=sized)
    said, _ = distiller._teacher_view(IMAGES)
    expected = sized(tf.image.resize(IMAGES, (size, size), antialias=True))
    np.testing.assert_allclose(said, expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_another_resolution_teaches_under_xla():
    distiller = compiled(
        with_methods=[methods.RelationalKL()], teacher=teacher(size=4), jit_compile=True
    )
    history = distiller.fit(DATA.repeat(2), verbose=0).history
    assert np.isfinite(history["loss"][0])


def test_a_teacher_of_colour_images_is_shown_grey_ones():
    colour = teacher(channels=3)
    distiller = compiled(with_methods=[methods.RelationalKL()], teacher=colour)
    said, _ = distiller._teacher_view(IMAGES)
    expected = colour(np.repeat(IMAGES, 3, axis=-1))
    np.testing.assert_allclose(said, expected, rtol=1e-6)


def test_a_teacher_of_bytes_is_shown_rounded_pixels():
    whole = teacher(dtype="uint8")
    distiller = compiled(with_methods=[methods.RelationalKL()], teacher=whole)
    said, _ = distiller._teacher_view(IMAGES)
    expected = whole(np.round(IMAGES).astype("uint8"))
    np.testing.assert_allclose(said, expected, rtol=1e-6)


def test_a_teacher_of_other_channels_is_refused_before_the_first_step():
    distiller = compiled(
        with_methods=[methods.RelationalKL()], teacher=teacher(channels=4)
    )
    with pytest.raises(ValueError, match=r"4 channels.*images.shape=\(12, 6, 6, 1\)"):
        distiller.fit(DATA, verbose=0)
    assert int(distiller.optimizer.iterations) == 0


def test_a_method_that_must_know_the_width_asks_for_it():
    with pytest.raises(ValueError, match=r"FeatureL2\(teacher_dim=...\)"):
        kd.Distiller(student(), [methods.FeatureL2()])
    distiller = kd.Distiller(student(), [methods.FeatureL2(teacher_dim=16)])
    with pytest.raises(ValueError, match="teacher of 16 dimensions.*which has 9"):
        distiller.set_teacher(teacher(dim=9))
    distiller.set_teacher(teacher(dim=16))
    assert distiller.methods[0].projection.kernel.shape == (3, 16)


def test_a_teacher_is_neither_changed_nor_saved(tmp_path):
    big = teacher(dim=512)
    distiller = compiled(with_methods=[methods.RelationalKL()], teacher=big)
    assert big.trainable and len(big.trainable_variables) == 4
    before = big.get_weights()
    distiller.fit(DATA.repeat(3), verbose=0)
    same(before, big.get_weights(), rtol=0)
    ours = {id(v) for v in distiller.variables}
    assert not ours & {id(v) for v in big.variables}
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    assert loaded.teacher is None
    with pytest.raises(ValueError, match="distiller.set_teacher.*teacher=None"):
        loaded.fit(DATA, verbose=0)
    loaded.set_teacher(big)
    loaded.fit(DATA, verbose=0)


def test_student_and_teacher_must_not_share_weights():
    net = student()
    with pytest.raises(ValueError, match="must not share weights.*teacher='same'"):
        kd.Distiller(
            net,
            [methods.RelationalKL()],
            teacher=keras.Model(net.inputs, net.outputs, name="same"),
        )


def test_a_teacher_that_nobody_learns_from_is_refused():
    with pytest.raises(ValueError, match=r"No method here learns.*methods=\['s2sd'\]"):
        kd.Distiller(student(), [kd.S2SD((4,), pooling="avg")], teacher=teacher())


def test_a_second_view_a_cached_teacher_and_ids_travel_with_the_images():
    wide = teacher()
    distiller = compiled(with_methods=[methods.RelationalKL(weight=1.0)], teacher=wide)
    other = IMAGES[:, ::-1]
    ids = tf.constant([f"image {i}" for i in range(12)])

    def divergence(model, **extra):
        inputs = {"image": IMAGES, "id": ids, **extra}
        targets = {"label": LABELS, "boxes": np.zeros((12, 5, 4), "f4")}
        data = tf.data.Dataset.from_tensors((inputs, targets))
        logs = model.evaluate(data, verbose=0, return_dict=True)
        return logs["relational_kl_divergence"]

    plain, turned = divergence(distiller), divergence(distiller, teacher_image=other)
    assert plain != pytest.approx(turned, rel=1e-3)
    cached = divergence(distiller, teacher_embedding=wide(other))
    assert cached == pytest.approx(turned, rel=1e-5)
    no_teacher = compiled(distiller.student, [methods.RelationalKL(weight=1.0)])
    assert divergence(no_teacher, teacher_embedding=wide(other)) == pytest.approx(
        turned, rel=1e-5
    )


@pytest.mark.parametrize("where", ["inputs", "targets"])
def test_a_dictionary_must_name_the_images_and_the_labels(where):
    data = {
        "inputs": ({"picture": IMAGES}, LABELS),
        "targets": (IMAGES, {"class": LABELS}),
    }[where]
    message = {"inputs": "'image'.*picture", "targets": "'label'.*class"}[where]
    with pytest.raises(ValueError, match=message):
        compiled().fit(tf.data.Dataset.from_tensors(data), verbose=0)


def test_a_cached_output_cannot_stand_in_for_inner_layers():
    term = methods.RelationalKL(teacher_layer="inner")
    distiller = compiled(with_methods=[term], teacher=teacher())
    inputs = {"image": IMAGES, "teacher_embedding": np.zeros((12, 16), "f4")}
    with pytest.raises(ValueError, match="reads its inner layers.*'inner'"):
        distiller.fit(inputs, LABELS, batch_size=12, verbose=0)


def test_another_teacher_is_asked_from_then_on():
    first, second = teacher(dim=5), teacher(dim=7)
    distiller = compiled(with_methods=methods.RelationalKL(), teacher=first)
    distiller.fit(DATA, verbose=0)
    distiller.evaluate(DATA, verbose=0)
    distiller.set_teacher(second)
    logs = distiller.evaluate(DATA, verbose=0, return_dict=True)
    said, heard = second(IMAGES), distiller.student(IMAGES)
    expected = np.mean(kd.similarity.relational_kl(said, heard))
    assert logs["relational_kl_divergence"] == pytest.approx(expected, rel=1e-4)
