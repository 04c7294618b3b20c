import keras
import numpy as np
import pytest
from keras import layers

import keras_distill as kd
from keras_distill.methods.ddl import discriminability
from train.grouping import evaluation, poolings, protocol

SHAPE = (6, 6, 1)
rng = np.random.default_rng(0)
# Six classes: a grey level each, under noise.
LABELS = np.repeat(np.arange(6), 8)
NOISE = rng.normal(0, 25, (48, *SHAPE))
PIXELS = np.clip(40 + 30 * LABELS[:, None, None, None] + NOISE, 0, 255).astype("uint8")
DARK = kd.data.FixedViews(kd.layers.RandomDegradation(share=0.7), count=3, seed=1)


def networks():
    """An embedder and a scorer that were never trained."""
    images = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Rescaling(1 / 127.5, offset=-1)(images))
    start = keras.initializers.RandomNormal(seed=0)
    units = kd.layers.L2Normalization()(layers.Dense(4, kernel_initializer=start)(x))
    start = keras.initializers.RandomNormal(seed=1)
    score = layers.Dense(1, activation="sigmoid", kernel_initializer=start)(x)
    return keras.Model(images, units), keras.Model(images, score)


@pytest.fixture(scope="module")
def fold():
    images = kd.data.ImageSet(PIXELS, LABELS)
    draws = protocol.draw(images.take_classes(["2", "3", "4", "5"]), 4, 2, 3, seed=0)
    proxy = images.take_classes(["0", "1"])
    nets = networks()
    return *nets, draws, evaluation.members(*nets, proxy, DARK, draws, DARK)


def test_vectors_are_those_of_what_deploys(fold):
    embedder, scorer, draws, members = fold
    deployed = kd.models.group_embedder(embedder, scorer)
    for number, rows in enumerate(draws.rows):
        shown = DARK.of(draws.images)(rows.reshape(-1), np.full(rows.size, number))
        groups = {
            "image": np.reshape(shown, (*rows.shape, *SHAPE)),
            "mask": np.ones(rows.shape, bool),
        }
        expected = np.asarray(deployed(groups))
        found = poolings.pooled(evaluation.of_draw(members, number))["DDL"]
        found = found / np.linalg.norm(found, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_truth_is_the_indicator_among_all_that_is_drawn(fold):
    embedder, _, draws, members = fold
    units = members.units.reshape(-1, 4)
    own = np.tile(np.repeat(draws.labels, 4), 3)
    expected = discriminability(units, own).indicator
    np.testing.assert_allclose(members.truth.reshape(-1), expected, rtol=1e-4)
    assert members.norms is None


def test_figures_are_means_over_draws(fold):
    *_, draws, members = fold
    found = evaluation.evaluate(members, draws)
    assert found["pairs"] == {"genuine": 4, "impostor": 12}
    each = [
        protocol.figures(members.units[number].mean(axis=1), draws)
        for number in range(3)
    ]
    for key, value in found["figures"]["mean"].items():
        assert value == pytest.approx(np.mean([one[key] for one in each]))
    assert len({one["rank_1"] for one in each}) > 1  # else a mean of them says nothing


def test_what_is_kept_by_lot_are_the_first_members(fold):
    *_, draws, members = fold
    one = evaluation.of_draw(members, 1)
    found = evaluation.kept(one, draws)
    assert list(found["best"]) == list(found["random"]) == ["1", "2", "3", "4"]
    expected = protocol.figures(one.units[:, 0], draws)
    assert found["random"]["1"] == expected
    best = one.units[np.arange(8), one.scores.argmax(axis=1)]
    assert found["best"]["1"] == protocol.figures(best, draws)
    assert found["best"]["4"] == protocol.figures(poolings.pooled(one)["DDL"], draws)


def test_the_correlation_is_that_of_ranks(fold):
    *_, draws, members = fold
    perfect = members._replace(scores=members.truth**3)
    assert evaluation.evaluate(perfect, draws)["correlation"] == pytest.approx(1)
    wrong = members._replace(scores=1 - members.truth)
    assert evaluation.evaluate(wrong, draws)["correlation"] == pytest.approx(-1)
