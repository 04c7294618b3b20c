import pytest

import keras_distill as kd
from train import methods


def test_options_are_python_values_and_otherwise_text():
    assert methods.options(["dims=256,512", "weight=5e1", "pooling=avg"]) == {
        "dims": (256, 512),
        "weight": 50.0,
        "pooling": "avg",
    }


@pytest.mark.parametrize("pair", ["dims", "dims=", "=4", "a b=4"])
def test_an_option_is_a_name_and_a_value(pair):
    with pytest.raises(ValueError, match=f"NAME=VALUE. Received: {pair}"):
        methods.options([pair])


def test_methods_are_known_by_their_own_names():
    known = methods.known()
    assert known["s2sd"] is kd.S2SD and "relational_kl" not in known
    for name in known:
        made = methods.make(name, {})
        assert [method.name for method in made] == ([] if name == "none" else [name])


def test_methods_that_learn_from_a_teacher_want_one():
    assert {"relational_kl", "pad", "feature_l2"} <= set(methods.known(teacher=True))
    assert not {"relational_kl", "pad"} & set(methods.known())
    with pytest.raises(ValueError, match="learns from a teacher.*no --teacher"):
        methods.make("pad", {"term": "feature_l2"})


def test_the_term_that_pad_wraps_is_named_and_has_options_of_its_own():
    options = {"term": "feature_l2", "term.teacher_dim": 9, "warm_up": 7}
    (method,) = methods.make("pad", options, teacher=True)
    assert isinstance(method, kd.PAD) and method.warm_up == 7
    assert isinstance(method.term, kd.methods.FeatureL2)
    assert method.term.teacher_dim == 9
    with pytest.raises(ValueError, match="attention_transfer.*Received: term=None"):
        methods.make("pad", {}, teacher=True)
    with pytest.raises(ValueError, match="term=feature_l2.*Received: warm_up"):
        bad = {"term": "feature_l2", "term.warm_up": 3}
        methods.make("pad", bad, teacher=True)
    with pytest.raises(ValueError, match="wraps no other method.*term.weight"):
        methods.make("relational_kl", {"term.weight": 3}, teacher=True)


def test_an_unknown_method_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(ValueError, match="none, obd_sd, s2sd.*Received: --method s3sd"):
        methods.make("s3sd", {})


def test_options_reach_the_method():
    (method,) = methods.make("s2sd", {"dims": (8, 16), "feature_delay": 3})
    assert method.dims == (8, 16) and method.feature_delay == 3


def test_one_value_is_enough_where_several_may_be_given():
    (method,) = methods.make("s2sd", {"dims": 8})
    assert method.dims == (8,)


def test_an_unknown_option_is_refused_and_the_known_ones_are_listed():
    with pytest.raises(ValueError, match=r"dims, weight.*Received: dim$"):
        methods.make("s2sd", {"dim": 8})
    with pytest.raises(ValueError, match="--method none has no options.*dims"):
        methods.make("none", {"dims": 8})
