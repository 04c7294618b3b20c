"""Every class the library registers survives a save: no argument is forgotten."""

import importlib
import inspect
import json
import pathlib

import keras
import pytest

import keras_distill as kd
from keras_distill import detection, layers, losses, methods
from keras_distill.models.group_embedder import GroupEmbedder

ROOT = pathlib.Path(__file__).parent.parent

LOSS = {"reduction": "sum", "name": "other"}
LEARNED = {"num_classes": 7, "learning_rate_multiplier": 3.0, **LOSS}


def distiller():
    student = kd.models.embedder("separable", (16, 16, 1), dim=4)
    return kd.Distiller(
        student, methods=[methods.RelationalKL()], feature_layer="pooled"
    )


def examples():
    """One of each class, every argument away from its default.

    Those of methods stand in their own tests, so that a new method is one file and
    one test. A class that none of them names fails the test below.
    """
    yield from EXAMPLES
    for path in sorted((ROOT / "tests" / "methods").glob("*_test.py")):
        module = importlib.import_module(f"tests.methods.{path.stem}")
        yield from getattr(module, "EXAMPLES", ())


def group_embedder():
    networks = kd.models.embedder("conv4_2", (8, 8, 1), 4), kd.models.scorer((8, 8, 1))
    return GroupEmbedder(*networks, keep=3, rescale_above=1, threshold=0.4)


def ddl():
    networks = kd.models.embedder("conv4_2", (8, 8, 1), 4), kd.models.scorer((8, 8, 1))
    return kd.DDL(*networks, floor=0.2, leave_one_out=True, centroids="unit")


def detectors():
    pyramid = kd.models.pyramid((32, 64, 3), (4, 4, 4, 4), width=4)
    scored = {"least_score": 0.1, "overlap": 0.4, "limit": 9, "name": "other"}
    scored["rescale"] = (1.0, 0.0)
    yield kd.models.RetinaNet(pyramid, 2, 4, 1, 2.0, **scored)
    yield kd.models.FasterRCNN(pyramid, 2, 4, 2.0, 9, 8, 32, seed=3, **scored)
    yield detection.MultilevelRoIAlign({"P3": 8, "P4": 16}, 50, 5, 3, dtype="float64")
    yield detection.Proposals((32, 64, 3), {"P3": 8}, 4.0, (1.0,), 50, 9, 0.6, seed=3)


EXAMPLES = [
    *detectors(),
    ddl(),
    distiller(),
    group_embedder(),
    layers.FrozenBatchNormalization(
        axis=1,
        momentum=0.5,
        epsilon=0.1,
        center=False,
        scale=False,
        beta_initializer="ones",
        gamma_initializer="zeros",
        moving_mean_initializer="ones",
        moving_variance_initializer="zeros",
        beta_regularizer="l2",
        gamma_regularizer="l2",
        beta_constraint="non_neg",
        gamma_constraint="non_neg",
        renorm=True,
        renorm_clipping={"rmax": 2.0},
        renorm_momentum=0.5,
        synchronized=True,
    ),
    layers.GroupPooling(3, 0.5, 4, True, True, dtype="float64"),
    layers.L2Normalization(epsilon=1e-6, dtype="float64"),
    layers.RandomAffine(0.2, 5.0, 0.3, 4.0, "constant", 255.0, seed=3),
    layers.RandomBoxAffine(False, True, 0.1, 0.6, 9.0, seed=3),
    layers.RandomDegradation(0.1, 9.0, 0.2, 0.3, 0.6, 0.7, 0.9, 4.0, 128.0, seed=3),
    layers.RandomElastic(amplitude=0.2, nodes=6, seed=3),
    layers.RandomStrokeWidth(thicker=0.4, thinner=2.5, ink="light", seed=3),
    losses.ArcFace(margin=0.4, scale=16.0, form="clamped", **LEARNED),
    losses.Contrastive(0.9, 0.1, form="sampled", seed=3, **LOSS),
    losses.LiftedStructure(margin=0.7, **LOSS),
    losses.Margin(
        margin=0.1,
        beta=0.6,
        nu=0.01,
        triplets="all",
        divisor="pairs",
        lower_cutoff=0.4,
        seed=3,
        **LEARNED,
    ),
    losses.MultiSimilarity(1.0, 50.0, 0.6, epsilon=0.2, one_sided=True, **LOSS),
    losses.NPairs(pairs="all", norm_weight=0.005, **LOSS),
    losses.NTXent(temperature=0.5, **LOSS),
    losses.NormalizedSoftmax(temperature=0.1, **LEARNED),
    losses.ProxyAnchor(margin=0.2, alpha=16.0, average="examples", **LEARNED),
    losses.ProxyNCA(scale=3.0, include_positive=True, **LEARNED),
    losses.TripletHard(margin=0.5, soft=True, distance="angular", **LOSS),
    losses.TripletSemiHard(0.5, "squared-L2", negatives="all", **LOSS),
]
# Not saved with the model, on purpose.
ABSENT = {"Distiller": {"teacher"}}


def test_there_is_an_example_of_every_registered_class():
    registered = keras.saving.get_custom_objects().items()
    ours = {thing for key, thing in registered if key.startswith("keras_distill>")}
    assert ours == {type(example) for example in examples()}


@pytest.mark.parametrize("example", list(examples()), ids=lambda e: type(e).__name__)
def test_the_config_forgets_nothing(example):
    config = example.get_config()
    text = json.dumps(keras.saving.serialize_keras_object(example))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is type(example)
    assert json.dumps(again.get_config(), default=str) == json.dumps(
        config, default=str
    )
    absent = ABSENT.get(type(example).__name__, set())
    for name, argument in inspect.signature(type(example)).parameters.items():
        if argument.kind is not argument.VAR_KEYWORD and name not in absent:
            assert config[name] != argument.default, f"{name} is not exercised"


@pytest.mark.parametrize("example", list(examples()), ids=lambda e: type(e).__name__)
def test_its_name_in_saved_files_is_its_own(example):
    saved = keras.saving.serialize_keras_object(example)
    kind = type(example).__name__
    assert saved["registered_name"] == f"keras_distill>{kind}"
