import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats

from keras_distill import tflite
from keras_distill.device.scorer import Scorer
from keras_distill.tflite.from_keras import from_keras
from keras_distill.tflite.graph import read_graph
from tests import tiny_embedder, tiny_scorer


@pytest.fixture(scope="module")
def images():
    return tiny_scorer.images()[0]


@pytest.fixture(scope="module")
def expected(images):
    return np.asarray(tiny_scorer.scorer()(images.astype("float32")))[:, 0]


def test_the_float_file_scores_uint8_images_as_the_network_does(images, expected):
    scorer = Scorer(tiny_scorer.converted("float32"))
    assert scorer.image_shape == (32, 32, 1)
    np.testing.assert_allclose(scorer.score(images), expected, atol=1e-6)


def test_the_int8_file_scores_nearly_so_and_in_the_same_order(images, expected):
    scores = Scorer(tiny_scorer.converted("int8")).score(images)
    assert expected.max() - expected.min() > 0.5  # there is something to lose
    np.testing.assert_allclose(scores, expected, atol=0.08)
    assert stats.spearmanr(scores, expected).statistic > 0.998
    assert not np.allclose(scores, expected, atol=1e-3)  # and it is the int8 file


def test_the_trunk_is_int8_and_the_logit_and_its_sigmoid_are_float():
    graph = read_graph(tiny_scorer.converted("int8"))
    assert [op.name for op in graph.operators] == [
        *["CAST", "MUL", "ADD", "QUANTIZE"],
        *["DEPTHWISE_CONV_2D", "CONV_2D"] * 3,
        *["MEAN", "DEQUANTIZE", "FULLY_CONNECTED", "LOGISTIC"],
    ]
    assert [weights.dtype for _, _, weights in graph.weighted()] == [
        *["INT8"] * 6,
        "FLOAT32",
    ]


def test_a_float_logit_keeps_apart_what_one_of_8_bits_does_not(expected):
    """On what it is for: more images, all different, and clean ones to calibrate."""
    scorer, clean = tiny_scorer.scorer(), tiny_embedder.calibration()
    images = np.concatenate([tiny_scorer.images(seed=seed)[0] for seed in (0, 2, 3)])
    exact = np.asarray(scorer(images.astype("float32")))[:, 0]
    found = {}
    for float_head in (True, False):
        model = from_keras(scorer, "int8", clean, "score", "score", float_head)
        scores = Scorer(model).score(images)
        found[float_head] = len(np.unique(scores)), np.abs(scores - exact).max()
    assert len(np.unique(exact)) == len(images) == 360
    assert found[True][0] > 350 and found[False][0] < 256
    assert found[True][1] < 0.1 < found[False][1]


def test_a_head_of_convolutions_and_pooling_stays_in_float_as_well():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(1, 1)(x))
    scorer = keras.Model(inputs, layers.Activation("sigmoid")(x))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    model = tflite.convert_scorer(scorer, "int8", images)
    names = [op.name for op in read_graph(model).operators]
    assert names[names.index("DEQUANTIZE") + 1] == "CONV_2D"
    assert names[-1] == "LOGISTIC" and names.count("DEQUANTIZE") == 1
    tflite.verify_scorer(model, scorer, images, "int8")


def test_converting_again_gives_the_same_bytes():
    calibration = tiny_scorer.images(seed=1)[0].copy()
    again = tflite.convert_scorer(tiny_scorer.scorer(), "int8", calibration)
    assert again == tiny_scorer.converted("int8")


def small(head):
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, head(layers.Flatten()(inputs)))


def test_refuses_and_says_what_it_got(images):
    scorer = tiny_scorer.scorer()
    with pytest.raises(TypeError, match="`scorer` must be.*scorer='scorer.keras'"):
        tflite.convert_scorer("scorer.keras")
    with pytest.raises(ValueError, match=r"scores \(batch, 1\).*shape=\(None, 2\)"):
        tflite.convert_scorer(small(layers.Dense(2)))
    with pytest.raises(ValueError, match="one of 'float32', 'int8'.*mode='int4'"):
        tflite.convert_scorer(scorer, "int4")
    with pytest.raises(ValueError, match="needed by mode='int8'.*calibration=None"):
        tflite.convert_scorer(scorer, "int8")
    with pytest.raises(TypeError, match="uint8.*float64"):
        tflite.convert_scorer(scorer, "int8", images / 1.0)


def test_a_network_that_is_nothing_but_a_head_has_no_int8_form():
    scorer = small(layers.Dense(1, activation="sigmoid"))
    calibration = np.zeros((3, 8, 8, 1), np.uint8)
    with pytest.raises(ValueError, match=r"two operators.*\['FULLY_CONNECTED'\]"):
        tflite.convert_scorer(scorer, "int8", calibration)
