"""Each check of scores is shown a file with the fault that it is for.

Those of the graph are shown theirs in `verify_test.py`; here only that a scorer is
put through them, and what differs.
"""

import keras
import numpy as np
import pytest
from keras import layers

from keras_distill import tflite
from keras_distill.tflite.from_keras import from_keras
from keras_distill.tflite.graph import parse, serialize
from keras_distill.tflite.structure import STRUCTURE_CHECKS
from keras_distill.tflite.verify_scorer import compare_scores
from tests import tiny_embedder, tiny_scorer


@pytest.fixture(scope="module")
def images():
    return tiny_scorer.images()[0]


def refused(check, message, model, *args, scorer=None, **kwargs):
    scorer = scorer or tiny_scorer.scorer()
    with pytest.raises(tflite.VerificationError, match=message) as caught:
        tflite.verify_scorer(model, scorer, *args, **kwargs)
    assert caught.value.check == check


def test_good_files_pass_with_their_figures(images):
    scorer, float_model = tiny_scorer.scorer(), tiny_scorer.converted()
    int8_model = tiny_scorer.converted("int8")
    exact = tflite.verify_scorer(float_model, scorer, images)
    near = tflite.verify_scorer(int8_model, scorer, images, "int8", float_model)
    assert exact["difference_max"] < 1e-6 and exact["rank_correlation"] > 1 - 1e-9
    assert 0 < near["difference_mean"] < near["difference_max"] < 0.1
    assert 0.998 < near["rank_correlation"] < 1
    assert 0 < near["score_min"] < 0.2 and 0.7 < near["score_max"] < 1
    assert exact["images"] == near["images"] == len(images)
    assert near["operators"]["LOGISTIC"] == 1


def test_differences_and_order_by_hand():
    expected = np.array([0.1, 0.4, 0.5, 0.9], np.float32)
    found = compare_scores(np.array([0.2, 0.5, 0.4, 0.9], np.float32), expected)
    assert found["difference_max"] == pytest.approx(0.1)
    assert found["difference_mean"] == pytest.approx(0.075)
    # Two neighbours change places: 1 - 6 * (1 + 1) / (4 * (16 - 1)).
    assert found["rank_correlation"] == pytest.approx(0.8)


def test_scores_all_alike_have_no_order_to_keep_but_none_to_lose():
    flat, rising = np.full(4, 0.5, np.float32), np.linspace(0, 1, 4, dtype="float32")
    assert compare_scores(rising, flat)["rank_correlation"] is None
    assert compare_scores(flat, rising)["rank_correlation"] == 0.0


def ends_with(bias=0.0, weights=None, activation="sigmoid"):
    """A small scorer; with other weights or another activation in its last layer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(tiny_embedder.IMAGE_SHAPE)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    last = layers.Dense(1, activation=activation)
    scorer = keras.Model(inputs, last(x))
    last.bias.assign([bias])
    if weights is not None:
        last.kernel.assign(np.full((8, 1), weights))
    return scorer


def test_a_scorer_that_gives_all_images_the_same_passes(images):
    scorer = ends_with(weights=0.0)
    found = tflite.verify_scorer(tflite.convert_scorer(scorer), scorer, images)
    assert found["rank_correlation"] is None and found["score_min"] == 0.5


def test_signature__that_of_an_embedder(images):
    parsed = parse(tiny_scorer.converted())
    parsed.signatureDefs[0].signatureKey = b"embed"
    refused("signature", "'score'.*Received.*'embed'", serialize(parsed), images)


def test_quantised__a_head_in_8_bits(images):
    scorer = tiny_scorer.scorer()
    model = from_keras(scorer, "int8", images, "score", "score", float_head=False)
    message = "last operator.*in float.*FULLY_CONNECTED.*INT8 weights and INT8 data"
    refused("quantised", message, model, images, "int8")


def test_quantised__a_trunk_in_float(images):
    message = "on INT8 data up to the last, as int8. Received: 6 of 6 do not"
    refused("quantised", message, tiny_scorer.converted(), images, "int8")


def test_weights__those_of_a_smaller_scorer(images):
    message = "must hold.*Received: [0-9]+ bytes"
    refused("weights", message, tflite.convert_scorer(ends_with()), images)


def test_finite__a_scorer_that_training_broke(images):
    scorer = ends_with(bias=np.nan)
    message = f"NaN or infinity for {len(images)} of {len(images)} images"
    refused("finite", message, tflite.convert_scorer(scorer), images, scorer=scorer)


def test_range__a_scorer_without_a_sigmoid(images):
    for bias, message in [(2.0, r"\[0, 1\].*scores [12]\."), (-1.0, "scores -[01]")]:
        scorer = ends_with(bias, weights=0.01, activation=None)
        refused("range", message, tflite.convert_scorer(scorer), images, scorer=scorer)


def test_difference__another_scorer_than_the_one_converted(images):
    message = "0.02 on average and 0.1[0-9]* at worst. Received: mean 0.[0-9]+, largest"
    model = tflite.convert_scorer(ends_with(bias=1.0))
    refused("difference", message, model, images, scorer=ends_with())


def test_difference__calibrated_on_no_real_image(images):
    black = np.zeros((20, 32, 32, 1), np.uint8)
    model = tflite.convert_scorer(tiny_scorer.scorer(), "int8", black)
    refused("difference", "Received: mean 0.[0-9]+", model, images, "int8")


def test_rank__scores_near_each_other_in_another_order(images):
    # So small a last layer that no score is 0.01 from another.
    model = tflite.convert_scorer(ends_with(weights=-0.01))
    message = "order.*at least 0.98. Received: -1.0"
    refused("rank", message, model, images, scorer=ends_with(weights=0.01))


def test_limits_are_the_callers(images):
    model, scorer = tiny_scorer.converted("int8"), tiny_scorer.scorer()
    for name, limit, check in [
        ("max_difference", 1e-3, "difference"),
        ("max_difference_mean", 1e-5, "difference"),
        ("min_rank_correlation", 0.99999, "rank"),
    ]:
        refused(check, f"{limit}", model, images, "int8", **{name: limit})
    wide = dict(max_difference=1, max_difference_mean=1, min_rank_correlation=-1)
    black = tflite.convert_scorer(scorer, "int8", np.zeros((9, 32, 32, 1), np.uint8))
    tflite.verify_scorer(black, scorer, images, "int8", **wide)


def test_every_check_of_scores_is_seen_to_refuse():
    tests = {name for name in globals() if name.startswith("test_")}
    for check in set(tflite.SCORER_CHECKS) - set(STRUCTURE_CHECKS):
        assert any(name.startswith(f"test_{check}__") for name in tests), check


def test_refuses_and_says_what_it_got(images):
    model, scorer = tiny_scorer.converted(), tiny_scorer.scorer()
    with pytest.raises(ValueError, match="one of 'float32', 'int8'.*mode='int4'"):
        tflite.verify_scorer(model, scorer, images, mode="int4")
    with pytest.raises(ValueError, match=r"images.shape=\(0, 32, 32, 1\)"):
        tflite.verify_scorer(model, scorer, images[:0])
    with pytest.raises(ValueError, match=r"scores \(batch, 1\)"):
        tflite.verify_scorer(model, tiny_embedder.student(), images)
