import numpy as np
import pytest

from keras_distill.metrics import nmi

rng = np.random.default_rng(0)
LABELS, CLUSTERS = rng.integers(0, 4, 200), rng.integers(-3, 3, 200)


def by_hand(labels, clusters):
    """Mutual information over the mean of the entropies, one cell at a time."""
    mutual, entropies = 0.0, [0.0, 0.0]
    for a in set(labels):
        for b in set(clusters):
            both = np.mean((labels == a) & (clusters == b))
            if both:
                apart = np.mean(labels == a) * np.mean(clusters == b)
                mutual += both * np.log(both / apart)
    for side, groups in enumerate((labels, clusters)):
        for a in set(groups):
            entropies[side] -= np.mean(groups == a) * np.log(np.mean(groups == a))
    return mutual / np.mean(entropies)


def test_is_the_formula():
    assert nmi(LABELS, CLUSTERS) == pytest.approx(by_hand(LABELS, CLUSTERS))
    near = np.where(rng.random(200) < 0.9, LABELS, CLUSTERS)
    assert nmi(LABELS, near) == pytest.approx(by_hand(LABELS, near))


@pytest.mark.parametrize("name", ["ragged_n1200_d32", "singletons_n201_d32"])
def test_is_the_references_for_its_clusters(name, reference):
    f = reference(f"metrics_{name}")
    value = nmi(f["in_labels"], f["out_cluster_labels"])
    assert value == pytest.approx(f["out_nmi"], abs=1e-12)


def test_is_one_for_renamed_classes_and_symmetric():
    assert nmi(LABELS, 10 - 3 * LABELS) == pytest.approx(1.0)
    assert nmi(LABELS, LABELS.astype(str)) == pytest.approx(1.0)
    assert nmi(CLUSTERS, LABELS) == pytest.approx(nmi(LABELS, CLUSTERS))


def test_degenerate_groups():
    assert nmi([4, 4, 4], [0, 0, 0]) == 1.0
    assert nmi([0, 1, 2], [0, 0, 0]) == 0.0
    assert nmi([0, 0, 1, 1], [0, 1, 0, 1]) == 0.0
    # Each row its own cluster tells the class: I = H(labels), not 1.
    assert nmi([0, 0, 1, 1], [0, 1, 2, 3]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "labels, clusters, message",
    [
        ([], [], r"`labels` must have shape.*\(0,\)"),
        ([0, 1], [0], r"same length.*\(2,\).*\(1,\)"),
        ([0, 1], [[0, 1]], r"`clusters` must have shape.*\(1, 2\)"),
    ],
)
def test_refuses_and_says_what_it_got(labels, clusters, message):
    with pytest.raises(ValueError, match=message):
        nmi(labels, clusters)
