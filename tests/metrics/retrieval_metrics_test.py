"""Recall@K, MAP@R, R-precision and the report, against figures and loops."""

import importlib

import numpy as np
import pytest

from keras_distill.metrics import map_at_r, r_precision, recall_at_k, retrieval_report

rng = np.random.default_rng(0)
ROWS = rng.normal(size=(60, 5))
LABELS = np.array([*range(20), *range(10), *range(10), *([7] * 20)]) * 3 - 4
OTHERS = rng.normal(size=(25, 5))
OTHER_LABELS = rng.choice([*LABELS, 1000, -1000], size=25)
FILES = ["metrics_ragged_n1200_d32", "metrics_singletons_n201_d32"]
FILES += ["metrics_unnorm_n240_d16"]


def ranked(queries, gallery, own, metric="cosine"):
    """For each query, gallery indices from near to far, in float64 loops."""
    for i, query in enumerate(queries):
        distances = []
        for j, row in enumerate(gallery):
            if metric == "euclidean":
                distance = np.sum((query - row) ** 2)
            else:
                distance = -query @ row / np.linalg.norm(query) / np.linalg.norm(row)
            if not (own and i == j):
                distances.append((distance, j))
        yield i, [j for _, j in sorted(distances)]


def by_hand(metric="cosine", queries=None, query_labels=None):
    """The four figures, counted one rank at a time."""
    own = queries is None
    if own:
        queries, query_labels = ROWS, LABELS
    recall, average, first_r = {1: [], 3: []}, [], []
    for i, order in ranked(queries, ROWS, own, metric):
        same = [LABELS[j] == query_labels[i] for j in order]
        for k, values in recall.items():
            values.append(any(same[:k]))
        r = sum(same)
        if r:
            precisions = [sum(same[: n + 1]) / (n + 1) for n in range(r) if same[n]]
            average.append(sum(precisions) / r)
            first_r.append(sum(same[:r]) / r)
    return {
        "recall_at_1": np.mean(recall[1]),
        "recall_at_3": np.mean(recall[3]),
        "map_at_r": np.mean(average),
        "r_precision": np.mean(first_r),
    }


@pytest.mark.parametrize("metric, prefix", [("euclidean", "e"), ("cosine", "c")])
@pytest.mark.parametrize("file", FILES)
def test_recall_is_the_references(file, metric, prefix, reference):
    f = reference(file)
    for k in (1, 2, 4, 8):
        value = recall_at_k(f["in_features"], f["in_labels"], k, metric)
        assert value == f[f"out_{prefix}_recall_at_{k}"]


@pytest.mark.parametrize("file", FILES)
def test_map_at_r_and_r_precision_are_the_references(file, reference):
    f = reference(file)
    data = f["in_features"], f["in_labels"]
    name = "out_pml_{}_kall".format
    expected = f[name("mean_average_precision_at_r")]
    assert map_at_r(*data, "euclidean") == pytest.approx(expected, abs=1e-6)
    expected = f[name("r_precision")]
    assert r_precision(*data, "euclidean") == pytest.approx(expected, abs=1e-6)


def test_lone_classes_miss_in_recall_and_are_left_out_of_map(reference):
    # The reference pins both: the same hits are divided by all 201 queries, or by
    # the 189 that have anything to find.
    f = reference("metrics_singletons_n201_d32")
    features, labels = f["in_features"], f["in_labels"]
    _, which, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    alone = sizes[which] == 1
    assert alone.sum() == 12
    recall = recall_at_k(features, labels, 1, "euclidean")
    assert recall == f["out_e_recall_at_1"]
    hits = f["out_pml_precision_at_1_kall"] * (~alone).sum()
    assert recall == pytest.approx(hits / len(labels))
    perfect = np.eye(3)[[0, 0, 1, 1, 2]]
    assert recall_at_k(perfect, [0, 0, 1, 1, 2], 1) == 4 / 5
    assert map_at_r(perfect, [0, 0, 1, 1, 2]) == 1.0


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("separate", [False, True])
def test_is_what_one_counts_by_hand(metric, separate):
    extra = (OTHERS, OTHER_LABELS) if separate else ()
    expected = by_hand(metric, *extra)
    data = ROWS, LABELS
    for k in (1, 3):
        value = recall_at_k(*data, k, metric, *extra)
        assert value == pytest.approx(expected[f"recall_at_{k}"])
    assert map_at_r(*data, metric, *extra) == pytest.approx(expected["map_at_r"])
    assert r_precision(*data, metric, *extra) == pytest.approx(expected["r_precision"])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("extra", [{}, {"separate": True}])
def test_the_report_is_the_single_metrics(metric, extra):
    if extra:
        extra = {"query_embeddings": OTHERS, "query_labels": OTHER_LABELS}
    report = retrieval_report(ROWS, LABELS, (1, 3, 50), metric=metric, **extra)
    names = "recall_at_1", "recall_at_3", "recall_at_50", "map_at_r", "nmi"
    assert tuple(report) == names
    assert all(type(value) is float and 0 <= value <= 1 for value in report.values())
    for k in (1, 3, 50):
        value = recall_at_k(ROWS, LABELS, k, metric, **extra)
        assert report[f"recall_at_{k}"] == value
    value = map_at_r(ROWS, LABELS, metric, **extra)
    assert report["map_at_r"] == pytest.approx(value, abs=1e-12)
    without = retrieval_report(ROWS, LABELS, (1,), metric=metric, nmi=False, **extra)
    assert list(without) == ["recall_at_1", "map_at_r"]


def test_nmi_of_the_report_is_one_where_classes_are_apart():
    centres = 10 * rng.normal(size=(6, 5))
    labels = np.repeat(np.arange(6), 30)
    rows = centres[labels] + rng.normal(size=(180, 5))
    assert retrieval_report(rows, labels, metric="euclidean")["nmi"] > 0.99
    # Rows along one ray: far apart, and yet all the same to the cosine.
    ray = np.repeat([[1.0, 2.0]], 60, axis=0) * np.repeat([1, 8], 30)[:, None]
    halves = np.repeat([0, 1], 30)
    assert retrieval_report(ray, halves, metric="euclidean")["nmi"] == 1.0
    assert retrieval_report(ray, halves, metric="cosine")["nmi"] < 0.2


def test_nothing_changes_under_rotation_order_and_names():
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    order = rng.permutation(60)
    names = {label: name for name, label in enumerate(rng.permutation(LABELS))}
    renamed = np.array([names[label] for label in LABELS])
    expected = retrieval_report(ROWS, LABELS, nmi=False)
    for rows, labels in (
        (ROWS @ rotation * 1e3, LABELS),
        (ROWS[order], LABELS[order]),
        (ROWS, renamed),
        (ROWS, LABELS[:, None]),
        (ROWS, LABELS.astype(str)),
    ):
        found = retrieval_report(rows, labels, nmi=False)
        assert found == pytest.approx(expected, abs=1e-12)


def test_doubling_every_row_makes_every_first_neighbour_right():
    twice, labels = np.tile(ROWS, (2, 1)), np.tile(LABELS, 2)
    assert recall_at_k(twice, labels, 1) == 1.0
    # Queries that are not in the gallery do find their copies there.
    assert recall_at_k(ROWS, LABELS, 1, "cosine", ROWS, LABELS) == 1.0


def test_equal_rows_rank_by_index():
    # All scores tie: query 0 sees 1, 2, 3; queries 1, 2, 3 see 0 first.
    labels = [0, 1, 0, 1]
    assert recall_at_k(np.ones((4, 2)), labels, 1) == 1 / 4
    assert recall_at_k(np.ones((4, 2)), labels, 2) == 3 / 4


def test_k_beyond_the_gallery_looks_at_all_of_it():
    assert recall_at_k(np.eye(3), [0, 1, 0], 100) == 2 / 3


def test_a_query_of_a_class_that_is_not_there_misses():
    report = retrieval_report(
        np.eye(3), [5, 6, 7], (1, 3), np.eye(3)[:2], [5, 99], nmi=False
    )
    assert report == {"recall_at_1": 0.5, "recall_at_3": 0.5, "map_at_r": 1.0}


def test_classes_of_any_size_are_searched_to_their_end(monkeypatch):
    search = importlib.import_module("keras_distill.retrieval.exact_search")
    expected = retrieval_report(ROWS, LABELS, nmi=False)
    monkeypatch.setattr(search, "QUERY_TILE", 7)
    monkeypatch.setattr(search, "FIRST_TILE", 4)
    monkeypatch.setattr(search, "GALLERY_TILE", 8)
    found = retrieval_report(ROWS, LABELS, nmi=False)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((ROWS, LABELS[:9], 1), r"the same length.*\(60, 5\).*labels.shape=\(9,\)"),
        ((ROWS, np.eye(60), 1), r"`labels` must have shape.*\(60, 60\)"),
        ((ROWS[:1], LABELS[:1], 1), r"at least 2 rows.*embeddings.shape=\(1, 5\)"),
        ((ROWS[:0], LABELS[:0], 1), r"`labels` must have shape.*N above 0"),
        ((ROWS * np.nan, LABELS, 1), r"must be finite.*\[0\]=.*nan"),
        ((ROWS, LABELS, 0), r"positive integer.*k=\(0,\)"),
        ((ROWS, LABELS, 1, "dot"), "`metric` must be one of.*'dot'"),
        ((ROWS, LABELS, 1, "cosine", OTHERS), "come together.*query_labels is None"),
        (
            (ROWS, LABELS, 1, "cosine", OTHERS, LABELS),
            r"`query_embeddings` and `query_labels`.*\(25, 5\).*\(60,\)",
        ),
        (
            (ROWS, LABELS, 1, "cosine", OTHERS[:, :2], OTHER_LABELS),
            r"same width.*\(25, 2\).*\(60, 5\)",
        ),
    ],
)
def test_refuses_and_says_what_it_got(arguments, message):
    with pytest.raises(ValueError, match=message):
        recall_at_k(*arguments)


@pytest.mark.parametrize("metric", [map_at_r, r_precision, retrieval_report])
def test_refuses_a_gallery_where_nothing_can_be_found(metric):
    with pytest.raises(ValueError, match="another row of its class.*0 such queries"):
        metric(np.eye(3), [0, 1, 2])


def test_refuses_a_report_without_k():
    with pytest.raises(ValueError, match=r"positive integer.*k=\(\)"):
        retrieval_report(ROWS, LABELS, ks=())
