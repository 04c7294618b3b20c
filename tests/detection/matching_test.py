"""Which box an anchor stands for, with padding and without boxes."""

import numpy as np

from keras_distill.detection import IGNORED, NEGATIVE, POSITIVE, match, sample

ANCHORS = np.float32(
    [
        [0, 0, 10, 10],  # the first box itself
        [0, 0, 10, 6],  # IoU 0.6 with it
        [0, 0, 10, 4.5],  # 0.45
        [50, 50, 60, 60],  # nothing
        [100, 100, 120, 120],  # around the second box, IoU 0.25: its best
    ]
)
BOXES = np.float32([[[0, 0, 10, 10], [105, 105, 115, 115], [0, 0, 10, 4.5]]])
MASK = np.array([[True, True, False]])


def matched(**options):
    index, state = match(ANCHORS, BOXES, MASK, 0.5, 0.4, **options)
    return np.asarray(index)[0], np.asarray(state)[0].tolist()


def test_thresholds_decide_and_padding_is_never_matched():
    index, state = matched()
    assert state == [POSITIVE, POSITIVE, IGNORED, NEGATIVE, NEGATIVE]
    assert index[:2].tolist() == [0, 0]


def test_with_force_every_box_has_its_best_anchors():
    index, state = matched(force=True)
    assert state == [POSITIVE, POSITIVE, IGNORED, NEGATIVE, POSITIVE]
    assert index[4] == 1


def test_a_forced_anchor_is_that_of_its_box_though_another_overlaps_it_more():
    anchors = np.float32([[0, 0, 10, 10], [200, 200, 210, 210]])
    boxes = np.float32([[[0, 0, 10, 9], [0, 8, 10, 12]]])
    # Both boxes are best overlapped by the first anchor: it takes the larger overlap.
    index, state = match(anchors, boxes, [[True, True]], 0.95, 0.4, force=True)
    assert np.asarray(state)[0].tolist() == [POSITIVE, NEGATIVE]
    assert np.asarray(index)[0, 0] == 0
    # Where the first box has a better anchor elsewhere, the second box gets this one.
    anchors = np.float32([[0, 0, 10, 10], [0, 0, 10, 9]])
    index, _ = match(anchors, boxes, [[True, True]], 0.95, 0.4, force=True)
    assert np.asarray(index)[0].tolist() == [1, 0]


def test_without_boxes_all_is_negative():
    for force in (False, True):
        _, state = match(ANCHORS, BOXES, [[False] * 3], 0.5, 0.4, force=force)
        assert (np.asarray(state) == NEGATIVE).all()


def test_each_image_may_have_its_own_proposals():
    index, state = match(np.stack([ANCHORS, ANCHORS[::-1]]), np.tile(BOXES, (2, 1, 1)),
                         np.tile(MASK, (2, 1)), 0.5, 0.5)  # fmt: skip
    np.testing.assert_array_equal(state[0], np.asarray(state)[1, ::-1])


rng = np.random.default_rng(0)
STATE = np.int32(
    [[POSITIVE] * 10 + [NEGATIVE] * 6 + [IGNORED] * 4, [NEGATIVE] * 19 + [POSITIVE],
     [POSITIVE] * 2 + [NEGATIVE] + [IGNORED] * 17, [IGNORED] * 20]
)  # fmt: skip


def test_a_sample_is_as_large_as_it_can_be_and_not_more_positive_than_it_may():
    for _ in range(20):
        numbers = rng.uniform(size=STATE.shape)
        places, mask = map(np.asarray, sample(STATE, 8, 0.25, numbers))
        assert places.shape == mask.shape == (4, 8)
        chosen = [STATE[row][places[row][mask[row]]] for row in range(4)]
        counts = [[(c == s).sum() for s in (POSITIVE, NEGATIVE)] for c in chosen]
        assert counts == [[2, 6], [1, 7], [2, 1], [0, 0]]
        assert all(len(set(row)) == 8 for row in places.tolist())


def test_the_highest_numbers_are_chosen():
    numbers = np.linspace(0, 0.99, 20)[None].repeat(4, 0)
    places, mask = map(np.asarray, sample(STATE, 8, 0.25, numbers))
    assert set(places[0]) == {9, 8, 15, 14, 13, 12, 11, 10}
    assert set(places[1]) == {19, 18, 17, 16, 15, 14, 13, 12}
    places, mask = map(np.asarray, sample(STATE, 4, 0.0, numbers))
    assert (STATE[0][places[0][mask[0]]] == NEGATIVE).all()
