"""SoftTargets compares softened class probabilities."""

import keras
import numpy as np
import pytest

import keras_distill as kd
from keras_distill import methods
from keras_distill.methods.soft_targets import soft_targets
from tests.methods.float64_loops import is_the_formula

EXAMPLES = [
    methods.SoftTargets(
        weight=3.0,
        temperature=2.0,
        student_layer="pooled",
        teacher_layer="pooled",
        name="other",
    )
]

rng = np.random.default_rng(0)
TEACHER, STUDENT = 5 * rng.normal(size=(2, 4, 6))


def by_hand(temperature):
    def formula(teacher, student):
        values = []
        for t, s in zip(teacher, student, strict=True):
            t, s = t.reshape(-1, t.shape[-1]), s.reshape(-1, s.shape[-1])
            cells = []
            for a, b in zip(t, s, strict=True):
                p, q = np.exp(a / temperature), np.exp(b / temperature)
                p, q = p / p.sum(), q / q.sum()
                cells.append(temperature**2 * np.sum(p * np.log(p / q)))
            values.append(np.mean(cells))
        return np.array(values)

    return formula


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_is_the_formula(temperature):
    def function(teacher, student):
        return soft_targets(teacher, student, temperature)

    is_the_formula(function, by_hand(temperature), TEACHER, STUDENT)


def test_cells_of_a_map_are_averaged():
    teacher, student = rng.normal(size=(2, 3, 2, 2, 4))
    is_the_formula(soft_targets, by_hand(4.0), teacher, student)


def test_does_not_see_a_constant_added_to_the_logits():
    shift = np.array([[100.0], [-100.0], [3.0], [0.0]])
    np.testing.assert_allclose(
        soft_targets(TEACHER + shift, STUDENT - shift),
        soft_targets(TEACHER, STUDENT),
        rtol=1e-4,
    )


def test_logits_of_any_size_give_finite_numbers():
    # The probabilities of these round to 0: their logarithm would be -inf.
    teacher = np.array([[1e4, -1e4, 0.0]])
    values = soft_targets(teacher, -teacher, 1.0)
    np.testing.assert_allclose(values, [2e4], rtol=1e-6)


def test_at_a_high_temperature_it_is_half_the_mean_square_of_centred_logits():
    # Section 2.1 of the paper.
    def centred(x):
        return x - x.mean(axis=1, keepdims=True)

    gaps = centred(TEACHER) - centred(STUDENT)
    expected = np.mean(np.square(gaps), axis=1) / 2
    np.testing.assert_allclose(
        soft_targets(TEACHER, STUDENT, 300.0), expected, rtol=0.1
    )


def test_refuses_what_would_broadcast():
    with pytest.raises(ValueError, match=r"one shape.*\(4, 6\).*\(4, 1\)"):
        soft_targets(TEACHER, STUDENT[:, :1])


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan")])
def test_refuses_a_temperature_that_cannot_be_divided_by(temperature):
    message = f"positive and finite: .* divided by.*temperature={temperature}"
    with pytest.raises(ValueError, match=message):
        methods.SoftTargets(temperature=temperature)
    with pytest.raises(ValueError, match=message):
        soft_targets(TEACHER, STUDENT, temperature)


def test_of_one_class_there_is_nothing_to_learn():
    np.testing.assert_array_equal(soft_targets(TEACHER[:, :1], STUDENT[:, :1]), 0)


def classifier(classes, name):
    images = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Flatten()(images)
    return keras.Model(images, keras.layers.Dense(classes, name="logits")(x), name=name)


def ending(kind):
    """A classifier that ends in probabilities, in one of the ways there are."""
    images = keras.Input((4, 4, 1), name="image")
    x = keras.layers.Flatten()(images)
    if kind == "activation":
        x = keras.layers.Dense(5, activation="softmax", name="probabilities")(x)
    else:
        x = keras.layers.Dense(5, name="logits")(x)
        if kind == "layer":
            x = keras.layers.Activation("softmax", name="probabilities")(x)
        else:
            x = keras.layers.Softmax(name="probabilities")(x)
    net = keras.Model(images, x, name="net")
    if kind == "nested":
        outer = keras.Input((4, 4, 1), name="image")
        return keras.Model(outer, net(outer), name="outer")
    if kind == "sequential":
        return keras.Sequential([keras.Input((4, 4, 1)), net], name="outer")
    return net


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize(
    "kind", ["activation", "layer", "Softmax", "nested", "sequential"]
)
def test_refuses_what_visibly_gives_probabilities(kind, side):
    pair = {"student": classifier(5, "small"), "teacher": classifier(5, "large")}
    pair[side] = ending(kind)
    term = methods.SoftTargets()
    message = (
        f"the {side} gives probabilities: .*activation=None.*classifier_activation="
        f"None.*`{side}_layer`.*{side}='{pair[side].name}'.*'probabilities'"
    )
    with pytest.raises(ValueError, match=message):
        kd.Distiller(pair["student"], [term], teacher=pair["teacher"])
    if kind != "activation":  # the layer before is there to be named
        path = "logits" if pair[side].name == "net" else "net/logits"
        term = methods.SoftTargets(**{f"{side}_layer": path})
        kd.Distiller(pair["student"], [term], teacher=pair["teacher"])


def test_refuses_a_layer_of_probabilities_by_its_path():
    term = methods.SoftTargets(student_layer="net/probabilities")
    with pytest.raises(ValueError, match="student='outer', whose layer 'prob"):
        kd.Distiller(ending("nested"), [term])


def test_a_path_that_leads_nowhere_is_answered_with_those_that_do():
    term = methods.SoftTargets(student_layer="nowhere")
    with pytest.raises(ValueError, match="no layer 'nowhere'. Its layers: .*logits"):
        kd.Distiller(classifier(5, "small"), [term])


def test_refuses_a_teacher_of_other_classes_and_never_projects():
    message = r"same classes.*teacher='large' with 7, student='small' with 5"
    with pytest.raises(ValueError, match=message):
        kd.Distiller(
            classifier(5, "small"),
            [methods.SoftTargets()],
            teacher=classifier(7, "large"),
        )
    term = methods.SoftTargets()
    kd.Distiller(classifier(5, "small"), [term], teacher=classifier(5, "large"))
    assert term.weights and not term.trainable_weights


def test_refuses_cached_logits_of_other_classes():
    distiller = kd.Distiller(classifier(5, "small"), [methods.SoftTargets()])
    distiller.compile("sgd")
    inputs = {"image": np.zeros((2, 4, 4, 1)), "teacher_embedding": np.zeros((2, 7))}
    with pytest.raises(ValueError, match="one shape.*7.*5"):
        distiller.fit(inputs, verbose=0)


def test_reads_the_logits_of_a_student_with_several_outputs():
    net = classifier(5, "small")
    unit = kd.layers.L2Normalization(name="embedding")(net.output)
    both = keras.Model(net.input, {"embedding": unit, "logits": net.output})
    large = classifier(5, "large")
    term = methods.SoftTargets(student_layer="logits")
    distiller = kd.Distiller(both, [term], teacher=large)
    distiller.compile("sgd", jit_compile=False)
    images = rng.normal(size=(4, 4, 4, 1)).astype("f4")
    logs = distiller.evaluate(images, batch_size=4, verbose=0, return_dict=True)
    expected = np.mean(soft_targets(large(images), net(images)))
    assert logs["soft_targets_divergence"] == pytest.approx(expected, rel=1e-4)
