"""`fit` of a Distiller behaves as that of any Keras model, with terms added.

Each test named after a fault of `keras.distillation.Distiller` (Keras 3.15) holds
that this one does not have it.
"""

import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 6, 6, 1)).astype("f4")
LABELS = np.repeat(np.arange(4), 3).astype("i4")
DATA = tf.data.Dataset.from_tensors((IMAGES, LABELS))


def student(dim=3, regularizer=None, extra=None, name=None):
    """A net small enough that tracing is all it costs."""
    images = keras.Input((6, 6, 1), name="image")
    x = layers.Flatten()(images)
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Dense(8, kernel_regularizer=regularizer, name="hidden")(x)
    x = layers.BatchNormalization(name="bn")(x)
    if extra is not None:
        x = extra(x)
    x = layers.ReLU(name="features")(x)
    x = layers.Dense(dim, name="projection")(x)
    x = kd.layers.L2Normalization(name="embedding")(x)
    return keras.Model(images, x, name=name)


def teacher(dim=16, size=6, dtype="float32"):
    images = keras.Input((size, size, 1), dtype=dtype)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(8, name="inner")(x)
    return keras.Model(images, layers.Dense(dim)(x), name="teacher")


def compiled(net=None, with_methods=(), loss="default", optimizer=None, **kwargs):
    options = {k: kwargs.pop(k) for k in ("teacher", "feature_layer") if k in kwargs}
    distiller = kd.Distiller(net or student(), with_methods, **options)
    loss = kd.losses.MultiSimilarity(epsilon=None) if loss == "default" else loss
    distiller.compile(optimizer or keras.optimizers.SGD(0.1), loss, **kwargs)
    return distiller


def values(model):
    return [np.array(v) for v in model.variables]


def same(ours, theirs, rtol=1e-5):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5 if rtol else 0)


# Without methods it is the student.


@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_without_methods_it_trains_as_the_student_does(regularizer):
    net = student(regularizer=regularizer)
    twin = student(regularizer=regularizer)
    twin.set_weights(net.get_weights())
    loss = kd.losses.MultiSimilarity(epsilon=None)
    twin.compile(keras.optimizers.SGD(0.1), loss)
    distiller = compiled(net)
    weights = rng.uniform(0, 2, 12).astype("f4")
    # A whole batch a step: the loss of a batch depends on who is in it.
    arguments = {"sample_weight": weights, "batch_size": 12, "verbose": 0}
    ours = distiller.fit(IMAGES, LABELS, epochs=3, **arguments).history
    theirs = twin.fit(IMAGES, LABELS, epochs=3, **arguments).history
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)
    same(values(net), values(twin))
    np.testing.assert_allclose(
        distiller.predict(IMAGES, verbose=0), twin.predict(IMAGES, verbose=0), rtol=1e-4
    )
    assert distiller.evaluate(DATA, verbose=0, return_dict=True)[
        "loss"
    ] == pytest.approx(twin.evaluate(DATA, verbose=0), rel=1e-5)


def test_regularisers_and_added_losses_are_counted():
    class Penalty(layers.Layer):
        def call(self, x):
            self.add_loss(0 * keras.ops.sum(x) + 5.0)
            return x

    net = student(regularizer=keras.regularizers.L2(100.0), extra=Penalty())
    distiller = compiled(net, [kd.methods.RelationalKL()], teacher=teacher())
    logs = distiller.evaluate(DATA, verbose=0, return_dict=True)
    kernel = np.array(net.get_layer("hidden").kernel)
    plain = logs["base_loss"] + 50 * logs["relational_kl_divergence"]
    expected = plain + 100 * np.square(kernel).sum() + 5.0
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    alone = kd.losses.MultiSimilarity(epsilon=None)(LABELS, net(IMAGES))
    assert logs["base_loss"] == pytest.approx(float(alone), rel=1e-2)


def test_sample_weights_reach_the_base_loss_and_the_terms():
    distiller = compiled(
        with_methods=[methods.RelationalKL(weight=1.0)], teacher=teacher()
    )
    none, one_row = np.zeros(12, "f4"), np.eye(12, dtype="f4")[3]
    arguments = {"batch_size": 12, "verbose": 0, "return_dict": True}
    logs = distiller.evaluate(IMAGES, LABELS, sample_weight=none, **arguments)
    assert logs["loss"] == 0
    logs = distiller.evaluate(IMAGES, LABELS, sample_weight=one_row, **arguments)
    rows = kd.similarity.relational_kl(
        distiller.teacher(IMAGES), distiller.student(IMAGES)
    )
    divergence = logs["relational_kl_divergence"]
    assert divergence == pytest.approx(float(rows[3]) / 12, rel=1e-3)


def test_class_weights_are_honoured():
    distiller = compiled()
    before = values(distiller)
    # Not a data set: Keras takes class weights with arrays of integer labels too.
    distiller.fit(IMAGES, LABELS, class_weight=dict.fromkeys(range(4), 0.0), verbose=0)
    trained = [v.trainable for v in distiller.variables]
    for old, new, counts in zip(before, values(distiller), trained, strict=True):
        if counts:
            np.testing.assert_array_equal(old, new)


# One forward pass, in the right mode.


@keras.saving.register_keras_serializable(package="test")
class Counter(layers.Layer):
    """Counts its calls with data in a variable."""

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def call(self, x):
        self.calls.assign_add(1)
        return x


def test_each_step_runs_the_student_once():
    counter = Counter()
    net = student(extra=counter)
    terms = [
        methods.RelationalKL(name="outputs"),
        keras.distillation.FeatureDistillation("mse", "inner", "features"),
        kd.S2SD(dims=(4,), pooling="avg"),
    ]
    distiller = compiled(net, terms, teacher=teacher())
    before = int(counter.calls)
    distiller.fit(DATA.repeat(5), verbose=0)
    assert int(counter.calls) - before == 5


def test_batch_statistics_move_as_far_as_in_the_plain_student():
    net, twin = student(), student()
    twin.set_weights(net.get_weights())
    term = keras.distillation.FeatureDistillation("mse", "inner", "features")
    compiled(net, [term], teacher=teacher(), optimizer=keras.optimizers.SGD(0.0)).fit(
        DATA.repeat(4), verbose=0
    )
    twin.compile(keras.optimizers.SGD(0.0), kd.losses.MultiSimilarity())
    twin.fit(DATA.repeat(4), verbose=0, shuffle=False)
    same(values(net), values(twin))


def test_evaluate_changes_nothing():
    term = keras.distillation.FeatureDistillation("mse", "inner", "features")
    distiller = compiled(
        with_methods=[term, kd.S2SD((4,), pooling="avg")], teacher=teacher()
    )
    distiller.fit(DATA, verbose=0)
    before = values(distiller)
    distiller.evaluate(DATA, verbose=0)
    changed = [
        v.path
        for v, old in zip(distiller.variables, before, strict=True)
        if np.any(np.array(v) != old) and "loss" not in v.path and "count" not in v.path
    ]
    assert [p for p in changed if "s2sd_" not in p and "total" not in p] == []


# Teachers.


def test_a_teacher_may_have_another_width_resolution_and_dtype():
    distiller = compiled(
        with_methods=[methods.RelationalKL()],
        teacher=teacher(dim=32, size=9, dtype="uint8"),
        optimizer=keras.optimizers.Adam(1e-2),
        loss=None,
    )
    history = distiller.fit(DATA.repeat(30), epochs=3, verbose=0).history
    assert history["loss"][-1] < 0.7 * history["loss"][0]


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
        model.fit(data, verbose=0) if extra.get("train") else None
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


# What is no method.


def test_something_else_is_not_a_method():
    with pytest.raises(TypeError, match="Expected a .*Method.*method='s2sd'"):
        kd.Distiller(student(), ["s2sd"])


def test_methods_need_names_of_their_own():
    with pytest.raises(ValueError, match=r"differ in name.*\['s2sd', 's2sd'\]"):
        kd.Distiller(student(), [kd.S2SD((4,), pooling="avg")] * 2)


# Layers of the student.


def test_layers_of_a_nested_backbone_are_reached_by_path():
    images = keras.Input((6, 6, 1), name="image")
    inner = keras.Input((6, 6, 1))
    trunk = layers.Conv2D(4, 3, name="conv")(inner)
    trunk = keras.Model(inner, layers.Conv2D(5, 3, name="end")(trunk), name="backbone")
    x = layers.GlobalAveragePooling2D()(trunk(images))
    net = keras.Model(images, kd.layers.L2Normalization()(x))
    distiller = compiled(net, [kd.S2SD((4,))], feature_layer="backbone/conv")
    distiller.fit(DATA, verbose=0)
    assert distiller.methods[0].branches[0].input_shape == (None, 4)
    message = r"no layer 'backbone/conv9'. Its layers: .*backbone/conv, backbone/end"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(net, [kd.S2SD((4,))], feature_layer="backbone/conv9")


def test_a_subclassed_student_trains_but_cannot_be_read_by_layer():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.dense = layers.Flatten(), layers.Dense(3)

        def call(self, images):
            return self.dense(self.flatten(images))

    net = Net()
    with pytest.raises(ValueError, match="must be built.*no weights yet"):
        kd.Distiller(net)
    net(IMAGES)
    compiled(net, [methods.RelationalKL()], teacher=teacher()).fit(DATA, verbose=0)
    with pytest.raises(ValueError, match="not those of a subclassed model.*Net"):
        kd.Distiller(net, [kd.S2SD((4,))])


@pytest.mark.parametrize("structure", ["dict", "list", "tuple"])
def test_students_of_several_outputs_train(structure):
    net = student()
    logits = layers.Dense(4, name="logits")(net.get_layer("features").output)
    outputs = {"vector": net.output, "logits": logits}
    losses = {
        "vector": kd.losses.MultiSimilarity(),
        "logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    targets, weights = (
        {"vector": LABELS, "logits": LABELS},
        {"vector": 2.0, "logits": 1.0},
    )
    if structure != "dict":
        kind = {"list": list, "tuple": tuple}[structure]
        outputs, losses, weights = (
            kind(x.values()) for x in (outputs, losses, weights)
        )
        targets = tuple(targets.values())  # a list would be read as one array
    many = keras.Model(net.input, outputs)
    distiller = compiled(
        many,
        [methods.RelationalKL(weight=1.0)],
        teacher=teacher(),
        loss=losses,
        loss_weights=weights,
        optimizer=keras.optimizers.Adam(1e-2),
    )
    data = tf.data.Dataset.from_tensors((IMAGES, targets))
    history = distiller.fit(data.repeat(20), epochs=3, verbose=0).history
    assert history["base_loss"][-1] < 0.9 * history["base_loss"][0]


def test_losses_of_several_outputs_get_weights_of_the_width_of_theirs():
    net = student(dim=3)
    wide = layers.Dense(5, name="wide")(net.get_layer("features").output)
    many = keras.Model(net.input, {"narrow": net.output, "wide": wide})
    losses = {"narrow": kd.losses.ProxyNCA(4), "wide": kd.losses.ProxyNCA(4)}
    distiller = compiled(many, loss=losses)
    targets = {"narrow": LABELS, "wide": LABELS}
    distiller.fit(tf.data.Dataset.from_tensors((IMAGES, targets)), verbose=0)
    owners = distiller.criterion_weights.owners
    assert [owner.weights[0].shape[-1] for owner in owners] == [3, 5]


# Losses with weights, schedules, precision, compilation.


class Started(keras.callbacks.Callback):
    """Counts how often training began."""

    count = 0

    def on_train_begin(self, logs=None):
        Started.count += 1


class Scheduled(methods.RelationalKL):
    def schedules(self):
        return [Started()]


@pytest.mark.parametrize("kind", ["none", "list", "CallbackList", "own"])
def test_fit_brings_the_callbacks_of_its_methods_unless_they_are_given(kind):
    distiller = compiled(with_methods=[Scheduled()], teacher=teacher())
    given = {
        "none": None,
        "list": [keras.callbacks.History()],
        "CallbackList": keras.callbacks.CallbackList(
            [], add_history=True, model=distiller
        ),
        "own": [Started()],
    }[kind]
    Started.count = 0
    distiller.fit(DATA, None, None, 1, 0, given)
    assert Started.count == 1


def test_the_weights_of_a_loss_train_and_are_spared_weight_decay():
    optimizer = keras.optimizers.AdamW(1e-2, weight_decay=10.0)
    distiller = compiled(loss=kd.losses.Margin(4), optimizer=optimizer)
    beta = next(v for v in distiller.trainable_variables if "margin" in v.path)
    distiller.fit(DATA.repeat(3), verbose=0)
    moved = np.abs(np.array(beta) - 1.2)
    # Decay alone would take 10 % of 1.2 at each step.
    assert 1e-3 < moved.max() < 0.05


def test_coefficients_can_be_scheduled_and_are_saved(tmp_path):
    method = methods.RelationalKL(weight=1.0)
    ramp = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: method.weight.assign(epoch)
    )
    distiller = compiled(with_methods=[method], teacher=teacher(), loss=None)
    history = distiller.fit(DATA, epochs=3, callbacks=[ramp], verbose=0).history
    ratio = np.array(history["loss"]) / history["relational_kl_divergence"]
    np.testing.assert_allclose(ratio, [0, 1, 2], rtol=1e-4)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.models.load_model(tmp_path / "d.keras")
    assert float(loaded.methods[0].weight) == 2.0
    assert loaded.methods[0].get_config()["weight"] == 1.0


@pytest.mark.parametrize(
    "options",
    [{"jit_compile": True}, {"steps_per_execution": 3}, {"run_eagerly": True}],
    ids=lambda o: next(iter(o)),
)
def test_every_way_to_run_a_step_gives_the_same_update(options):
    nets = [student(), student()]
    nets[1].set_weights(nets[0].get_weights())
    terms = [[kd.S2SD((4,), pooling="avg", feature_delay=1)] for _ in nets]
    plain = compiled(nets[0], terms[0])
    other = compiled(nets[1], terms[1], **options)
    terms[1][0].branches[0].set_weights(terms[0][0].branches[0].get_weights())
    data = DATA.repeat(6)
    a = plain.fit(data, verbose=0).history["loss"]
    b = other.fit(data, verbose=0).history["loss"]
    np.testing.assert_allclose(a, b, rtol=1e-3)
    for one, two in zip(values(nets[0]), values(nets[1]), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-3, atol=1e-4)


def test_a_float32_teacher_teaches_a_mixed_precision_student():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        net = student()
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = compiled(net, [methods.RelationalKL()], teacher=teacher())
    history = distiller.fit(DATA.repeat(3), verbose=0).history
    assert np.isfinite(history["loss"]).all()


# Saving and resuming.


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


# Replicas.


def test_two_replicas_make_the_update_of_one():
    program = """
        import numpy as np, keras, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        import keras_distill as kd
        from keras_distill import methods
        from keras import layers

        rng = np.random.default_rng(0)
        images = rng.uniform(-1, 1, (16, 5)).astype("f4")
        labels = np.tile(np.arange(4), 4).astype("i4")
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(16).repeat(3)

        def net(*widths):
            x = inputs = keras.Input((5,))
            for width in widths:
                x = layers.Dense(width, "tanh", kernel_regularizer="l2")(x)
            return keras.Model(inputs, layers.Identity(name="features")(x))

        def run(strategy):
            keras.utils.set_random_seed(0)
            with strategy.scope():
                student = net(7, 4)
                # Another order of creation must not give another start.
                weights = np.random.default_rng(1)
                student.set_weights(
                    [weights.normal(size=w.shape) for w in student.get_weights()]
                )
                branches = kd.S2SD((6,), 3.0, 2.0, 1.0, 1, "avg")
                terms = [methods.RelationalKL(name="kl"), branches]
                distiller = kd.Distiller(student, terms, teacher=net(9))
                loss = kd.losses.ProxyNCA(4)
                distiller.compile(keras.optimizers.SGD(0.05), loss)
                for v in distiller.variables + distiller.teacher.variables:
                    if v.dtype == "float32" and v.shape.rank:
                        v.assign(weights.normal(size=v.shape))
            history = distiller.fit(data, verbose=0).history
            return history, [v.numpy() for v in distiller.student.variables] + [
                v.numpy() for v in distiller.trainable_variables
            ]

        one = run(tf.distribute.OneDeviceStrategy("CPU:0"))
        two = run(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
        for key in one[0]:
            np.testing.assert_allclose(one[0][key], two[0][key], rtol=1e-4, err_msg=key)
        for a, b in zip(one[1], two[1]):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        print("SAME")
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            distiller = kd.Distiller(net(4))
            scalar = lambda y_true, y_pred: tf.reduce_mean(y_pred)
            distiller.compile("sgd", scalar)
        try:
            distiller.fit(data, verbose=0)
        except ValueError as refused:
            print(refused)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert "SAME" in done.stdout, done.stderr[-3000:]
    # Keras would count it once for each replica.
    assert "must return one value a row" in done.stdout
