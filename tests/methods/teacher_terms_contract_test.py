"""What every term promises that compares a student with a teacher."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_distill as kd
from keras_distill import methods
from keras_distill.models.tap import tap
from tests.two_replicas import same_update

rng = np.random.default_rng(0)
IMAGES = rng.uniform(0, 255, (12, 8, 8, 1)).astype("f4")
DATA = tf.data.Dataset.from_tensor_slices(IMAGES).batch(12)  # of unknown batch size

TERMS = {
    methods.AttentionTransfer: {"weight": 5.0},
    methods.FeatureCosine: {},
    methods.FeatureL2: {"weight": 1.0},
    methods.RKDAngle: {},
    methods.RKDDistance: {},
    methods.RelationalKL: {"weight": 5.0},
    methods.SimilarityPreserving: {"weight": 5.0},
    methods.SoftTargets: {
        "weight": 20.0,
        "student_layer": "logits",
        "teacher_layer": "logits",
    },
}
PROJECTING = [kind for kind in TERMS if kind.same_width]
each_term = pytest.mark.parametrize("kind", TERMS, ids=lambda kind: kind.__name__)


def net(dim=4, cells=2, name="student"):
    """An embedder by way of `cells` x `cells` maps and the logits of three classes."""
    images = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 128, offset=-1)(images)
    x = layers.Conv2D(6, 3, 8 // cells, padding="same")(x)
    x = layers.ReLU(name="features")(x)
    x = layers.Dense(3, name="logits")(layers.Flatten()(x))
    x = layers.Dense(dim, "tanh", dtype="float32", name="embedding")(x)
    return keras.Model(images, x, name=name)


def teacher():
    """Wider than the student, and of a finer grid."""
    return net(dim=7, cells=4, name="teacher")


def distiller(kinds=TERMS, student=None, optimizer=None, **kwargs):
    """One with all terms, unless some are named."""
    terms = [kind(**TERMS[kind]) for kind in kinds]
    model = kd.Distiller(student or net(), terms, teacher=teacher())
    model.compile(optimizer or keras.optimizers.SGD(0.0), **kwargs)
    return model


def key(term):
    """What logs call the term."""
    (name,) = term.term_names
    return f"{term.name}_{name}"


def views(student, teacher, images=IMAGES):
    seen = [tap(m, ["features", "logits"])(images) for m in (student, teacher)]
    return methods.Views(seen[0]["output"], seen[0], seen[1]["output"], seen[1])


def per_image(term, views):
    """The distances of a term, one value an image."""
    rows = term.rows(views)
    return term.terms(methods.Batch(None, None, None, rows))[term.term_names[0]].values


# In `fit`.


@pytest.mark.parametrize("way", ["mixed_float16", "jit_compile"])
def test_all_terms_train_together_and_each_of_them_falls(way):
    policy = "mixed_float16" if way == "mixed_float16" else "float32"
    keras.config.set_dtype_policy(policy)
    try:
        student = net()
    finally:
        keras.config.set_dtype_policy("float32")
    options = {"jit_compile": way == "jit_compile"}
    model = distiller(TERMS, student, keras.optimizers.Adam(0.01), **options)
    history = model.fit(DATA.repeat(20), epochs=4, verbose=0).history
    for term in model.methods:
        first, *_, last = history[key(term)]
        assert last < 0.8 * first, term.name
    assert np.isfinite(history["loss"]).all()


def test_each_enters_the_loss_as_its_weighted_mean_over_images():
    model = distiller(run_eagerly=True)
    logs = model.evaluate(IMAGES, batch_size=12, verbose=0, return_dict=True)
    seen = views(model.student, model.teacher)
    total = 0
    for term in model.methods:
        values = per_image(term, seen)
        assert values.shape == (12,) and values.dtype == "float32"
        assert np.min(values) >= -1e-7
        assert logs[key(term)] == pytest.approx(np.mean(values), rel=1e-4), term.name
        total += float(term.weight) * np.mean(values)
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


def test_sample_weights_are_those_of_images():
    model = distiller()
    one = np.eye(12, dtype="f4")[3]
    logs = model.evaluate(
        IMAGES, one, 12, sample_weight=one, verbose=0, return_dict=True
    )
    seen = views(model.student, model.teacher)
    for term in model.methods:
        expected = float(per_image(term, seen)[3]) / 12
        assert logs[key(term)] == pytest.approx(expected, rel=1e-3), term.name


def test_coefficients_assigned_between_epochs_count_in_the_compiled_step():
    model = distiller()
    warm = [term for term in model.methods if hasattr(term, "temperature")]
    assert {type(term) for term in warm} == {methods.RelationalKL, methods.SoftTargets}

    def assign(epoch, logs):
        for term in model.methods:
            term.weight.assign(epoch)
        for term in warm:
            term.temperature.assign(1 + epoch)

    schedule = keras.callbacks.LambdaCallback(on_epoch_begin=assign)
    history = model.fit(DATA, epochs=3, verbose=0, callbacks=[schedule]).history
    seen = views(model.student, model.teacher)
    for epoch in range(3):  # The learning rate is 0: only coefficients change.
        total = sum(history[key(term)][epoch] for term in model.methods)
        assert history["loss"][epoch] == pytest.approx(epoch * total, rel=1e-4)
        for term in warm:
            config = {**term.get_config(), "temperature": 1.0 + epoch}
            expected = np.mean(per_image(type(term).from_config(config), seen))
            assert history[key(term)][epoch] == pytest.approx(expected, rel=1e-3)


def test_cached_embeddings_teach_as_the_teacher_that_made_them():
    kinds = [kind for kind in TERMS if not kind(**TERMS[kind]).teacher_layers]
    live = distiller(kinds)
    terms = [type(t).from_config(t.get_config()) for t in live.methods]
    cached = kd.Distiller(live.student, terms)
    cached.compile("sgd")
    for ours, theirs in zip(terms, live.methods, strict=True):
        ours.set_weights(theirs.get_weights())
    inputs = {"image": IMAGES, "teacher_embedding": np.array(live.teacher(IMAGES))}
    options = {"batch_size": 12, "verbose": 0, "return_dict": True}
    assert cached.evaluate(inputs, **options) == pytest.approx(
        live.evaluate(IMAGES, **options), rel=1e-4
    )


# Gradients, and batches that are not as they should be.


def made_up(batch, dtype="float32", dim=4, cells=2, fill=None):
    """Outputs and layers of a model, random or of one value."""

    def tensor(*shape):
        x = rng.normal(size=shape) if fill is None else np.full(shape, fill)
        return tf.Variable(x.astype(dtype))

    maps = tensor(batch, cells, cells, 6)
    return tensor(batch, dim), {"features": maps, "logits": tensor(batch, 3)}


def built(kind):
    options = {"teacher_dim": 7} if kind.same_width else {}
    term = kind(**TERMS[kind], **options)
    shapes = {"output": (None, 4), "features": (None, 2, 2, 6), "logits": (None, 3)}
    term.build(shapes)
    return term


def value_and_gradients(term, student, teacher):
    with tf.GradientTape() as tape:
        values = per_image(term, methods.Views(*student, *teacher))
    sources = [student[0], *student[1].values(), teacher[0], *teacher[1].values()]
    gradients = tape.gradient(values, sources)
    return values, gradients[:3], gradients[3:]


@each_term
def test_the_teacher_gets_no_gradient_and_the_student_does(kind):
    made = made_up(5), made_up(5, dim=7, cells=4)
    _, to_student, to_teacher = value_and_gradients(built(kind), *made)
    assert to_teacher == [None] * 3
    found = [g for g in to_student if g is not None]
    assert len(found) == 1 and np.abs(found[0]).max() > 1e-4


@each_term
@pytest.mark.parametrize(
    "batch, student, teacher",
    [(1, None, None), (1, 0, 0), (5, 0, None), (5, None, 0), (5, 0, 0), (5, 2, 3)],
    ids=["one", "one zero", "zero student", "zero teacher", "zeros", "all equal"],
)
def test_degenerate_batches_are_finite_in_value_and_gradient(
    kind, batch, student, teacher
):
    values, to_student, _ = value_and_gradients(
        built(kind),
        made_up(batch, fill=student),
        made_up(batch, fill=teacher, dim=7, cells=4),
    )
    assert values.shape == (batch,) and np.isfinite(values).all()
    for gradient in to_student:
        # Finite is not enough: a step of 1e6 ends a training as well.
        assert gradient is None or np.abs(gradient).max() < 1e3


@each_term
def test_half_precision_is_compared_in_float32(kind):
    term = built(kind)
    half = made_up(5, "float16"), made_up(5, "float16", dim=7, cells=4)
    full = tf.nest.map_structure(lambda x: tf.Variable(tf.cast(x, "float32")), half)
    values, to_student, _ = value_and_gradients(term, *half)
    expected, to_full, _ = value_and_gradients(term, *full)
    assert values.dtype == "float32"
    np.testing.assert_array_equal(values, expected)
    for ours, theirs in zip(to_student, to_full, strict=True):
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=1e-6)


# Projections.


def test_projections_are_trained_saved_and_stay_behind(tmp_path):
    bare = net()
    model = distiller(PROJECTING, bare, keras.optimizers.Adam(0.01))
    kernels = [term.projection.kernel for term in model.methods]
    assert [tuple(kernel.shape) for kernel in kernels] == [(4, 7)] * len(PROJECTING)
    before = [np.array(kernel) for kernel in kernels]
    model.fit(DATA.repeat(5), verbose=0)
    for old, kernel in zip(before, kernels, strict=True):
        assert np.abs(old - np.array(kernel)).max() > 1e-3
    assert bare.count_params() == net().count_params()
    assert model.student is bare

    model.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    loaded.set_teacher(model.teacher)
    for ours, kernel in zip(loaded.methods, kernels, strict=True):
        np.testing.assert_array_equal(ours.projection.kernel, kernel)
    options = {"batch_size": 12, "verbose": 0, "return_dict": True}
    ours, theirs = (m.evaluate(IMAGES, **options) for m in (loaded, model))
    assert ours == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("kind", PROJECTING, ids=lambda kind: kind.__name__)
def test_equal_widths_need_no_projection(kind):
    term = kind(teacher_dim=4)
    term.build({"output": (None, 4)})
    assert term.projection is None and not term.trainable_weights


@pytest.mark.parametrize("kind", PROJECTING, ids=lambda kind: kind.__name__)
def test_maps_are_projected_cell_by_cell(kind):
    def images_to_maps(channels):
        images = keras.Input((8, 8, 1), name="image")
        maps = layers.Conv2D(channels, 3, name="features")(images)
        return keras.Model(images, layers.GlobalAveragePooling2D()(maps))

    term = kind(student_layer="features", teacher_layer="features")
    model = kd.Distiller(images_to_maps(3), [term], teacher=images_to_maps(5))
    model.compile("sgd")
    model.fit(DATA, verbose=0)
    assert tuple(term.projection.kernel.shape) == (3, 5)


@pytest.mark.parametrize("kind", PROJECTING, ids=lambda kind: kind.__name__)
def test_refuses_not_to_know_the_teachers_width(kind):
    message = rf"how wide the teacher is.*{kind.__name__}\(teacher_dim=...\)"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(net(), [kind()])
    with pytest.raises(ValueError, match="an integer, 1 or more.*teacher_dim=0"):
        kind(teacher_dim=0)


@pytest.mark.parametrize("kind", PROJECTING, ids=lambda kind: kind.__name__)
def test_refuses_a_teacher_or_a_cache_of_another_width(kind):
    model = kd.Distiller(net(), [kind()], teacher=teacher())
    with pytest.raises(ValueError, match="teacher of 7 dim.*'broad', which has 9"):
        model.set_teacher(net(dim=9, name="broad"))
    model.compile("sgd")
    inputs = {"image": IMAGES, "teacher_embedding": np.zeros((12, 9), "f4")}
    with pytest.raises(ValueError, match=r"teacher of 7 dim.*shape \(.*, 9\)"):
        model.fit(inputs, verbose=0)


# Refusals, and layers.


@each_term
def test_refuses_a_weight_out_of_its_range(kind):
    with pytest.raises(ValueError, match="`weight` must be .*not negative.*weight=-1"):
        kind(weight=-1)


@each_term
def test_refuses_a_teacher_of_which_it_is_not_said_what_is_meant(kind):
    one = teacher()
    several = keras.Model(
        one.inputs, [one.output, one.get_layer("logits").output], name="several"
    )
    options = {**TERMS[kind], "student_layer": "logits", "teacher_layer": None}
    message = "'several' has several outputs: name the layer that is meant"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(net(), [kind(**options)], teacher=several)


class Begun(keras.callbacks.Callback):
    """Notes whether a step has been made."""

    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


@each_term
def test_refuses_layers_that_cannot_be_compared_before_the_first_step(kind):
    # Maps of the student against rows of the teacher.
    sides = {"student_layer": "features", "teacher_layer": None}
    if kind is methods.AttentionTransfer:
        message = "compares maps.*teacher_layer=None"
    elif kind is methods.SimilarityPreserving:
        return  # compares images with images, whatever their shapes
    elif kind is methods.SoftTargets:
        message = "same classes.*teacher='teacher' with 7, student='student' with 6"
    elif kind.same_width:
        message = r"one shape.*teacher.shape=\(.*, 7\), student.shape=\(.*, 2, 2, 7\)"
    else:
        message = r"\(batch, dim\).*student.shape=\(.*, 2, 2, 6\)"
    begun = Begun()
    with pytest.raises(ValueError, match=message):
        model = kd.Distiller(net(), [kind(**{**TERMS[kind], **sides})], teacher())
        model.compile("sgd")
        model.fit(DATA, callbacks=[begun], verbose=0)
    assert begun.steps == 0


def nested(model):
    """The same model behind another input, as a backbone is nested."""
    images = keras.Input((8, 8, 1), name="image")
    return keras.Model(images, layers.Identity(name="last")(model(images)))


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_layers_of_nested_models_are_reached_by_path_and_others_listed(side):
    def build(path):
        paths = {f"{side}_layer": path}
        pair = {"student": net(), "teacher": teacher()}
        pair[side] = nested(pair[side])
        return kd.Distiller(
            pair["student"], [methods.AttentionTransfer(**paths)], pair["teacher"]
        )

    model = build(f"{side}/features")
    model.compile("sgd")
    model.evaluate(DATA, verbose=0)
    message = rf"no layer 'features'. Its layers: {side}, .*{side}/features, .*last"
    with pytest.raises(ValueError, match=message):
        build("features")


# Replicas.


def test_two_replicas_make_the_update_of_one():
    program = """
        from tests.methods import teacher_terms_contract_test as contract

        def run(strategy):
            weights = np.random.default_rng(1)
            with strategy.scope():
                model = contract.distiller(optimizer=keras.optimizers.SGD(0.05))
                trained = model.trainable_variables
                # Another order of creation must not give another start.
                for v in trained + model.teacher.variables:
                    v.assign(weights.normal(size=v.shape) / 2)
            history = model.fit(contract.DATA.repeat(2), verbose=0).history
            return history, [v.numpy() for v in trained]
    """
    same_update(program)
