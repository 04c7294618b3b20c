"""Every option of global knowledge and its terms reaches what it is an option of."""

import numpy as np
import pytest

from keras_distill import methods
from keras_distill.methods.prototypes import select_prototypes
from tests.methods.tiny_knowledge import PYRAMIDS, compiled, knowledge
from tests.tiny_detector import STRIDES, scenes

rng = np.random.default_rng(0)


def imitation(**kwargs):
    return methods.PyramidImitation(**PYRAMIDS, **kwargs)


@pytest.mark.parametrize(
    "option", [{"coupling": 0.0}, {"bandwidth": 2.0}, {"quantile": 0.9}]
)
def test_prototypes_are_chosen_as_the_options_say(option):
    method = compiled(knowledge(prototypes=8, **option)).methods[0]
    shift = rng.normal(size=(2, 8))  # instances in clusters, others in each space
    student = rng.normal(size=(60, 4)) + 2 * shift[rng.integers(0, 2, 60), :4]
    teacher = rng.normal(size=(60, 6)) + 2 * shift[rng.integers(0, 2, 60), :6]
    chosen = select_prototypes(student, teacher, 8, **option)
    plain = select_prototypes(student, teacher, 8)
    assert chosen.tolist() != plain.tolist()
    method.take_prototypes(
        dict.fromkeys(STRIDES, student), dict.fromkeys(STRIDES, teacher), [1] * 60
    )
    for level in STRIDES:
        ours, theirs, there = (np.array(x) for x in method.bank.read(level))
        assert there.tolist() == [False] * 8 + [True] * 8
        np.testing.assert_allclose(ours[8:], student[chosen], rtol=1e-6)
        np.testing.assert_allclose(theirs[8:], teacher[chosen], rtol=1e-6)


@pytest.mark.parametrize("clip, expected", [(False, -1.0), (True, 0.0)])
def test_weights_of_instances_that_models_see_the_other_way_round(clip, expected):
    """To the student an instance is its prototype, to the teacher its opposite."""
    method = knowledge(clip_weights=clip)
    distiller = compiled(method)
    images, targets = scenes(2, boxes=1)
    views = distiller.views(images, targets)
    label = int(targets["labels"][1, 0])
    for level in STRIDES:
        ours, theirs = (
            np.array(method.features(views)[side][level])[1]
            for side in ("student", "teacher")
        )
        method.bank.write(level, {label: (ours, -theirs)})
    rows = method.rows(views)
    np.testing.assert_allclose(rows["agreement"], [0.0, expected], atol=1e-5)
    foreground = np.array(rows["local"])[1, :, 2]  # what its weights sum to
    np.testing.assert_array_equal(np.sign(foreground.sum()), np.sign(expected))


@pytest.mark.parametrize("made", [knowledge, imitation])
@pytest.mark.parametrize("size", [1, 3])
def test_adapters_have_the_kernels_that_are_asked_for(made, size):
    method = compiled(made(adapter_size=size)).methods[0]
    kernels = [adapter.kernel.shape for adapter in method.adapters.values()]
    assert kernels == [(size, size, 4, 6)] * 2
