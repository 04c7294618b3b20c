import pytest

from train.grouping.folds import folds

NAMES = [f"{alphabet}/{number}" for alphabet in "ABC" for number in range(5)]


def test_each_fold_halves_the_classes_anew():
    found = folds(NAMES, 4, seed=3)
    for number, fold in enumerate(found):
        assert (fold.number, fold.seed) == (number, 3 + number)
        assert len(fold.proxy) == 7 and len(fold.unseen) == 8
        assert set(fold.proxy) | set(fold.unseen) == set(NAMES)
        assert not set(fold.proxy) & set(fold.unseen)
    assert len({fold.proxy for fold in found}) == 4


def test_a_fold_depends_on_seed_number_and_names_alone():
    found = folds(NAMES, 3, seed=1)
    assert folds(NAMES[::-1], 5, seed=1)[:3] == found
    assert folds(NAMES, 3, seed=2) != found


@pytest.mark.parametrize(
    "proxy, unseen, expected",
    [
        (None, ["A/*"], ("BC", "A")),
        (["A/*", "B/*"], None, ("AB", "C")),
        (["A/*"], ["C/*"], ("A", "C")),
    ],
)
def test_named_classes_are_the_same_in_all_folds(proxy, unseen, expected):
    found = folds(NAMES, 2, proxy, unseen, seed=5)
    assert [fold.seed for fold in found] == [5, 6]
    for fold in found:
        sides = [{name[0] for name in side} for side in (fold.proxy, fold.unseen)]
        assert sides == [set(expected[0]), set(expected[1])]
        assert len(fold.proxy) == 5 * len(expected[0])


def test_a_class_is_not_on_both_sides():
    message = "not both.*5 on both sides, such as 'B/0'"
    with pytest.raises(ValueError, match=message):
        folds(NAMES, 1, ["A/*", "B/*"], ["B/*"])


def test_a_glob_that_matches_nothing_is_named():
    with pytest.raises(
        ValueError, match="`proxy_classes` must .*such as 'A/0', .*glob='D/.'"
    ):
        folds(NAMES, 1, ["D/*"])


@pytest.mark.parametrize(
    "names, globs, message",
    [
        (NAMES[:3], (None, None), "Two proxy classes.*Received: 1 of 3"),
        (NAMES, (None, ["A/1"]), "Two unseen classes.*Received: 1 of 15"),
        (NAMES, (None, ["*"]), "Two proxy classes.*Received: 0 of 15"),
    ],
)
def test_two_classes_are_needed_on_each_side(names, globs, message):
    with pytest.raises(ValueError, match=message):
        folds(names, 1, *globs)
