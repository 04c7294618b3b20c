import numpy as np
import pytest

from keras_distill.metrics import tar_at_far, verification

rng = np.random.default_rng(0)


def groups(classes, each, spread, seed):
    """Noisy vectors about one direction a class, of many lengths, and labels."""
    centres = np.random.default_rng(0).normal(size=(classes, 6))
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(classes), each))
    rows = centres[labels] + spread * rng.normal(size=(len(labels), 6))
    return rows * rng.uniform(0.1, 9, (len(labels), 1)), labels


def cosine(a, b):
    return sum(a * b) / (sum(a * a) * sum(b * b)) ** 0.5


def test_scores_all_pairs_of_the_two_sets_and_none_within_one():
    (first, one), (second, other) = groups(7, 2, 0.6, 1), groups(8, 3, 0.6, 2)
    genuine, impostor = [], []
    for a, label in zip(first, one, strict=True):
        for b, its in zip(second, other, strict=True):
            (genuine if label == its else impostor).append(cosine(a, b))
    fars = (1 / len(impostor), 0.01, 0.1, 1.0)
    found = verification(first, one, second, other, fars)
    assert (found.genuine, found.impostor) == (7 * 2 * 3, 14 * 24 - 42)
    assert (found.genuine, found.impostor) == (len(genuine), len(impostor))
    assert list(found.tar) == list(found.threshold) == list(fars)
    for far in fars:
        assert found.tar[far] == tar_at_far(genuine, impostor, far)
    assert 0 < found.tar[0.01] < found.tar[0.1] < found.tar[1.0] == 1


def test_the_rule_is_the_references(reference):
    # One vector against vectors at the angles whose cosines rank as the scores do.
    f = reference("ddl_tar_at_far")
    cosines = f["scores"] / np.abs(f["scores"]).max()
    second = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    labels = np.where(f["same"], 7, 3)
    allowed = f["far"] >= 1 / np.sum(~f["same"])
    assert allowed.sum() >= 3
    found = verification([[1, 0]], [7], second, labels, f["far"][allowed])
    np.testing.assert_array_equal(list(found.tar.values()), f["tar"][allowed])
    np.testing.assert_allclose(
        list(found.threshold.values()),
        f["threshold"][allowed] / np.abs(f["scores"]).max(),
        atol=1e-7,
    )


def test_neither_lengths_nor_order_matter():
    (first, one), (second, other) = groups(6, 2, 0.9, 3), groups(6, 2, 0.9, 4)
    order = rng.permutation(len(second))
    plain = verification(first, one, second, other, [0.05, 0.2])
    assert plain == verification(
        100 * first, one, second[order] / 3, other[order], [0.05, 0.2]
    )
    assert plain == verification(second, other, first, one, [0.05, 0.2])


def test_equal_rows_tie_wherever_they_stand():
    # 200 copies of one row as impostors and one as the genuine: all or none pass.
    row = rng.normal(size=(1, 33)).astype(np.float32)
    second = np.repeat(row, 201, axis=0)
    labels = np.r_[0, np.ones(200, int)]
    query = rng.normal(size=(1, 33)).astype(np.float32)
    found = verification(query, [0], second, labels, [0.01, 1.0])
    assert found.tar == {0.01: 0.0, 1.0: 1.0}
    assert found.threshold[0.01] == np.inf


def test_a_row_of_zeros_has_cosine_0_and_counts():
    found = verification([[1.0, 0]], [0], [[0, 0], [-1, 0], [1, 0]], [0, 1, 2], [0.5])
    assert (found.genuine, found.impostor) == (1, 2)
    # One of two impostors may pass, that of cosine 1: what reaches 0 is let in.
    assert found.threshold == {0.5: 0.0} and found.tar == {0.5: 1.0}


def test_refuses_a_rate_below_one_impostor_pair_and_says_how_many_there_are():
    (first, one), (second, other) = groups(20, 1, 0.1, 5), groups(20, 1, 0.1, 6)
    assert verification(first, one, second, other, [1 / 380]).impostor == 380
    message = r"With 380 impostor pairs .*\[1/380, 1\].*Received: far=0.001"
    with pytest.raises(ValueError, match=message):
        verification(first, one, second, other, [0.01, 1e-3])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"fars": [1.5]}, "false accept rate must be.*far=1.5"),
        ({"fars": [float("nan")]}, "false accept rate must be.*far=nan"),
        ({"fars": [0.0]}, "With 2 impostor pairs.*far=0.0"),
        ({"fars": []}, r"`fars` must hold .*fars=\(\)"),
        ({"second_labels": [5, 6]}, "Received: 0 genuine and 4 impostor pairs"),
        ({"first_labels": [0, 0], "second_labels": [0, 0]}, "4 genuine and 0 impostor"),
        ({"second_labels": [0]}, r"`second_labels` must have the same.*\(1,\)"),
        ({"second": [[1.0], [2.0]]}, r"same width.*first.shape=\(2, 2\), second"),
        ({"first": [[1.0, 0], [np.nan, 1]]}, r"`first` must be finite.*first\[1\]"),
        ({"first": [1.0, 0.0]}, r"`first` must have shape .*\(2,\)"),
    ],
)
def test_refuses_and_says_what_it_got(change, message):
    eye = np.eye(2)
    good = {"first": eye, "first_labels": [0, 1]}
    good |= {"second": eye, "second_labels": [0, 1], "fars": [0.5]}
    assert verification(**good).tar == {0.5: 1.0}
    with pytest.raises(ValueError, match=message):
        verification(**{**good, **change})
