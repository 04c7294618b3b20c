import numpy as np
import pytest

from keras_distill.data import ImageSet, class_split

NAMES = ["Greek/alpha", "Greek/beta", "Latin/a", "Latin/b", "Tagalog/ka"]


def made(names=tuple(NAMES), per_class=2):
    labels = np.repeat(np.arange(len(names)), per_class)
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None, None]
    return ImageSet(pixels, labels, names, name="letters")


def test_globs_say_which_classes_evaluate():
    train, evaluation = class_split(made(), ["Greek/*", "*/ka"])
    assert evaluation.class_names == ("Greek/alpha", "Greek/beta", "Tagalog/ka")
    assert train.class_names == ("Latin/a", "Latin/b")
    assert train.ids == tuple(f"letters/{row}" for row in (4, 5, 6, 7))
    assert evaluation.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_one_glob_need_not_be_a_list_and_case_counts():
    _, evaluation = class_split(made(), "Greek/*")
    assert evaluation.class_names == ("Greek/alpha", "Greek/beta")
    with pytest.raises(ValueError, match=r"glob='greek/\*'"):
        class_split(made(), "greek/*")


def test_by_default_a_fifth_of_the_classes_evaluates_by_name_alone():
    names = [f"class {number}" for number in range(100)]
    train, evaluation = class_split(made(names))
    assert len(evaluation.class_names) == 20 and len(train.class_names) == 80
    assert not set(train.class_names) & set(evaluation.class_names)
    _, turned = class_split(made(names[::-1], per_class=3))
    assert set(turned.class_names) == set(evaluation.class_names)
    # Neither the first nor the last of a list is favoured.
    numbers = [int(name.split()[1]) for name in evaluation.class_names]
    assert 30 < np.mean(numbers) < 70


def test_at_least_two_classes_evaluate():
    train, evaluation = class_split(made(NAMES[:4]))
    assert len(evaluation.class_names) == len(train.class_names) == 2


@pytest.mark.parametrize(
    "images, globs, message",
    [
        (made(), ["Greek/*", "Roman/*"], r"match a class, such as 'Greek.*'Roman/\*'"),
        (made(), ["*"], r"leave classes.*\['\*'\], which matches all 5"),
        (made(), [], r"must hold a glob.*eval_classes=\[\]"),
        (made(NAMES[:3]), None, "At least four classes.*3 classes in 'letters'"),
        (made(per_class=1), None, "classes that train must have two images.*4|3"),
        (made(per_class=1), "Greek/*", "must have two images.*in 3 classes"),
    ],
)
def test_a_split_that_cannot_be_is_refused(images, globs, message):
    with pytest.raises(ValueError, match=message):
        class_split(images, globs)


def test_evaluation_needs_a_pair_too():
    images = ImageSet(
        np.zeros((5, 4, 4, 1), np.uint8), [0, 0, 1, 2, 2], ["a", "b", "c"]
    )
    with pytest.raises(ValueError, match="classes that evaluate must have two images"):
        class_split(images, "b")
