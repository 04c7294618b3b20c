"""What S2SD is told: the papers' variants by name, and what it refuses."""

import keras
import numpy as np
import pytest

import keras_distill as kd


def student():
    return kd.models.embedder("conv4_8", (16, 16, 1), dim=4)


@pytest.mark.parametrize(
    "name, same",
    [
        ("DSD", {"dims": (2048,), "feature_weight": 0.0, "pooling": "avg"}),
        ("MSD", {"feature_weight": 0.0, "pooling": "avg"}),
        ("MSDF", {"pooling": "avg"}),
        ("MSDFA", {}),  # the paper's full method is the default
        ("later", {"dims": (1024, 1536, 2048), "weight": 0.0, "feature_delay": 0}),
    ],
)
def test_the_rows_of_the_papers_tables_by_name(name, same):
    assert kd.S2SD.variant(name).get_config() == kd.S2SD(**same).get_config()


def test_a_variant_takes_the_arguments_that_do_not_make_it():
    method = kd.S2SD.variant("MSDF", dims=(8, 16), temperature=0.5)
    assert method.dims == (8, 16) and float(method.temperature) == 0.5


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        ("SD", {}, "one of DSD, MSD, MSDF, MSDFA, later.*name='SD'"),
        ("MSD", {"feature_weight": 5.0}, "MSD means feature_weight=0.0.*=5.0"),
        ("DSD", {"dims": (8, 16)}, r"one width.*dims=\(8, 16\)"),
    ],
)
def test_a_variant_refuses_what_contradicts_its_name(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        kd.S2SD.variant(name, **arguments)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"dims": ()}, r"positive integers.*dims=\(\)"),
        ({"dims": (8, 0)}, r"positive integers.*dims=\(8, 0\)"),
        ({"dims": 8}, "positive integers, one or more, in a tuple or list.*dims=8"),
        ({"dims": "8"}, "positive integers.*dims='8'"),
        ({"dims": (8, True)}, r"positive integers.*dims=\(8, True\)"),
        ({"weight": -1.0}, "not negative.*weight=-1.0"),
        ({"feature_weight": float("nan")}, "not negative.*feature_weight=nan"),
        ({"temperature": 0.0}, "positive and finite.*temperature=0.0"),
        ({"feature_delay": 1.5}, "an integer, 0 or more.*feature_delay=1.5"),
        ({"pooling": "max"}, "one of.*pooling='max'"),
    ],
)
def test_refuses_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        kd.S2SD(**arguments)


@pytest.mark.parametrize(
    "make", [kd.S2SD, lambda dims: kd.S2SD.variant("MSD", dims=dims)]
)
def test_widths_may_be_numbers_of_numpy(make):
    dims = make(dims=np.array([8, 16])).dims
    assert dims == (8, 16) and {type(dim) for dim in dims} == {int}


def test_refuses_a_layer_that_it_cannot_pool():
    with pytest.raises(ValueError, match=r"needs a feature map.*'pooled'.*\(None, 8\)"):
        kd.Distiller(student(), [kd.S2SD()], feature_layer="pooled")


@pytest.mark.parametrize(
    "shape", [(None, 3, 8), {"P3": (None, 4, 4, 8), "P4": (None, 2, 2, 8)}], ids=str
)
def test_refuses_a_layer_that_gives_neither_a_map_nor_rows(shape):
    method = kd.S2SD(dims=(8,), pooling="avg")
    message = r"one map \(batch, h, w, channels\) or rows.*layer='features'.* 8\)"
    with pytest.raises(ValueError, match=message):
        method.build({"output": (None, 4), "features": shape})


@pytest.mark.parametrize(
    "loss, message",
    [
        (None, "give one loss.*loss=None"),
        ([kd.losses.MultiSimilarity()] * 2, "give one loss"),
        ("mse", "not a name or a function.*loss='mse'"),
    ],
)
def test_refuses_a_loss_that_it_cannot_clone(loss, message):
    distiller = kd.Distiller(student(), [kd.S2SD(dims=(8,))])
    with pytest.raises(ValueError, match=message):
        distiller.compile("adam", loss)


def test_refuses_a_loss_that_is_no_mean_beside_branches_that_are():
    summed = kd.losses.MultiSimilarity(reduction="sum")
    message = "mean over the batch.*loss='multi_similarity' with reduction='sum'"
    distiller = kd.Distiller(student(), [kd.S2SD(dims=(8,))])
    with pytest.raises(ValueError, match=message):
        distiller.compile("adam", summed)
    own = kd.Distiller(student(), [kd.S2SD(dims=(8,), criterion=summed)])
    with pytest.raises(ValueError, match=message):
        own.compile("adam", kd.losses.MultiSimilarity())
    base = kd.S2SD(dims=(8,), criterion=kd.losses.MultiSimilarity())
    with pytest.raises(ValueError, match=message):
        kd.Distiller(student(), [base]).compile("adam", summed)


class Plain(keras.losses.Loss):
    def call(self, labels, embeddings):
        return embeddings[:, 0]


class Scaled(Plain):
    def __init__(self, scale=3.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale


class Closed(Plain):
    def __init__(self):
        super().__init__()


@pytest.mark.parametrize(
    "loss, why",
    [
        (Scaled(5.0), r"get_config\(\) leaves out scale"),
        (Closed(), "unexpected keyword"),
    ],
)
def test_refuses_a_loss_that_its_configuration_cannot_make(loss, why):
    name = type(loss).__name__
    message = rf"can make anew: give {name} a get_config\(\).*type {name} \(.*{why}"
    distiller = kd.Distiller(student(), [kd.S2SD(dims=(8,))])
    with pytest.raises(ValueError, match=message):
        distiller.compile("adam", loss)


@pytest.mark.parametrize(
    "loss", [Plain(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)]
)
def test_clones_other_losses_than_those_of_the_library(loss):
    method = kd.S2SD(dims=(8, 12))
    kd.Distiller(student(), [method]).compile("adam", loss)
    kinds = {type(criterion) for criterion in method._criteria}
    assert kinds == {type(loss)} and loss not in method._criteria
