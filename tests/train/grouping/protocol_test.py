import numpy as np
import pytest

from keras_distill.data import ImageSet
from train.grouping import protocol

# Classes 0 .. 4 of 6, 9, 3, 6 and 12 images, not in order.
LABELS = np.random.default_rng(0).permutation(np.repeat(range(5), [6, 9, 3, 6, 12]))


def images(labels=LABELS):
    """Pictures of one pixel, whose level says which they are."""
    pixels = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return ImageSet(pixels, labels)


def drawn(draws):
    """`(T, G, N)`: the pictures in the groups."""
    return draws.images.read(draws.rows.ravel()).reshape(draws.rows.shape)


def test_groups_are_of_one_class_and_share_nothing():
    draws = protocol.draw(images(), size=3, groups=2, count=7, seed=0)
    assert draws.rows.shape == (7, 8, 3) and draws.left_out == 1
    assert draws.images.class_names == ("0", "1", "3", "4")
    classes = np.array([0, 1, 3, 4])[draws.labels]
    assert sorted(zip(classes, draws.gallery, strict=True)) == [
        (label, side) for label in (0, 1, 3, 4) for side in (False, True)
    ]
    for pictures in drawn(draws):
        assert (LABELS[pictures] == classes[:, None]).all()
        assert len(np.unique(pictures)) == pictures.size
        # A class of as many images as are needed shows them all in every draw.
        shown = pictures[classes == 0].ravel()
        assert set(shown) == set(np.flatnonzero(LABELS == 0))


def test_draws_differ_and_come_again_under_the_same_seed():
    draws = protocol.draw(images(), 3, 2, 5, seed=1)
    assert len({rows.tobytes() for rows in draws.rows}) == 5
    again = protocol.draw(images(), 3, 2, 5, seed=1)
    np.testing.assert_array_equal(draws.rows, again.rows)
    assert (draws.rows != protocol.draw(images(), 3, 2, 5, seed=2).rows).any()


def test_members_come_in_an_order_by_lot():
    # Each image of a class stands first about as often as any other.
    draws = protocol.draw(images(np.repeat([0, 1], 4)), 4, 1, 300, seed=0)
    firsts = np.bincount(draws.rows[:, 0, 0], minlength=4)
    assert firsts.sum() == 300 and firsts.min() > 50


@pytest.mark.parametrize("groups, pairs", [(2, (4, 12)), (3, (4, 4))])
def test_the_pairs_are_those_of_galleries_with_probes(groups, pairs):
    # Of three groups a class of 6 has too few images: two classes remain.
    draws = protocol.draw(images(), 3, groups, 1, seed=0)
    assert draws.pairs == pairs
    assert draws.gallery.sum() == len(np.unique(draws.labels))


def test_classes_too_small_for_two_disjoint_groups_are_refused():
    message = (
        "10 images each.*2 disjoint groups of 5.*1 such classes of 5.*of 12 images"
    )
    with pytest.raises(ValueError, match=message):
        protocol.draw(images(), 5, 2, 1, seed=0)


def test_rates_are_those_that_impostor_pairs_allow():
    assert protocol.fars(10) == (0.1,) and protocol.headline(10) == 0.1
    assert protocol.fars(380) == (0.1, 0.01) and protocol.headline(380) == 0.01
    assert protocol.fars(10_000) == (0.1, 0.01, 0.001, 0.0001)
    assert protocol.headline(10_000) == 0.01
    with pytest.raises(ValueError, match="needs 10 impostor pairs.*Received: 9 pairs"):
        protocol.fars(9)


def test_figures_compare_probes_with_the_gallery():
    sides = np.arange(10) % 2 == 0
    draws = protocol.Draws(None, np.zeros((1, 10, 2)), np.repeat(range(5), 2), sides, 0)
    vectors = np.repeat(np.eye(5), 2, axis=0)
    perfect = protocol.figures(vectors, draws)
    assert perfect == {"tar_at_far_0.1": 1.0, "rank_1": 1.0, "rank_5": 1.0}
    # The probe of class 4 is the gallery group of class 0: an impostor pair of cosine
    # 1, where 2 of the 20 may pass.
    vectors[9] = vectors[0]
    found = protocol.figures(5 * vectors, draws)
    assert found == {"tar_at_far_0.1": 0.8, "rank_1": 0.8, "rank_5": 1.0}
    # Three of 20: none may pass, nor any of the genuine pairs, which score the same.
    vectors[7], vectors[5] = vectors[4], vectors[2]
    found = protocol.figures(vectors, draws)
    assert found == {"tar_at_far_0.1": 0.0, "rank_1": 0.4, "rank_5": 1.0}
