import pytest

from keras_distill import losses


def test_every_name_makes_its_loss_though_it_is_told_the_classes():
    for name in losses.names():
        loss = losses.get(name, num_classes=7)
        assert loss.name == name
        if losses.needs_num_classes(name):
            assert loss.num_classes == 7


def test_tells_which_need_the_number_of_classes():
    needy = {name for name in losses.names() if losses.needs_num_classes(name)}
    proxies = {"arc_face", "normalized_softmax", "proxy_anchor", "proxy_nca"}
    assert needy == proxies | {"margin"}


def test_hands_on_the_arguments():
    loss = losses.get("multi_similarity", alpha=3.0, reduction="sum")
    assert loss.alpha == 3.0 and loss.reduction == "sum"


@pytest.mark.parametrize("name", ["n_pairs", "npairs", "NPairs", "n-pairs"])
def test_does_not_mind_how_a_name_is_written(name):
    assert isinstance(losses.get(name), losses.NPairs)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: losses.get("ms"), "Known are: arc_face, .*, triplet_.*name='ms'"),
        (lambda: losses.get("margin"), "'margin' .*give `num_classes`.*=None"),
        (lambda: losses.needs_num_classes("ms"), "Unknown loss.*name='ms'"),
    ],
)
def test_refuses_and_says_what_it_knows(call, message):
    with pytest.raises(ValueError, match=message):
        call()
