import numpy as np
import pytest

from keras_distill.metrics import map_at_r, recall_at_k
from keras_distill.retrieval import RetrievalBudget, retrieval_budget
from keras_distill.tflite import VerificationError

rng = np.random.default_rng(0)
LABELS = rng.permutation(np.repeat(np.arange(30), 8))
CENTRES = rng.normal(size=(30, 12))
EXACT = CENTRES[LABELS] + 0.8 * rng.normal(size=(240, 12))
EXACT /= np.linalg.norm(EXACT, axis=1, keepdims=True)
NEAR = EXACT + 0.03 * rng.normal(size=EXACT.shape)


def loops(queries, rows):
    """Recall@1, MAP@R, lists of ten and cosines in plain loops."""
    hits, precisions, lists = [], [], []
    for i, query in enumerate(queries):
        scores = [-9 if j == i else rows[j] @ query for j in range(len(rows))]
        scores /= np.linalg.norm(rows, axis=1)
        order = sorted(range(len(rows)), key=lambda j: -scores[j])
        same = [LABELS[j] == LABELS[i] for j in order[:7]]
        hits.append(same[0])
        precisions.append(
            sum(same[r] * sum(same[: r + 1]) / (r + 1) for r in range(7)) / 7
        )
        lists.append(set(order[:10]))
    return np.mean(hits), np.mean(precisions), lists


def test_figures_are_those_of_plain_loops():
    budget = RetrievalBudget(EXACT, LABELS, max_drop=50)
    stage = budget.add("near", budget.nearest(NEAR), NEAR, milliseconds=3.0)
    recall, precision, lists = loops(EXACT, EXACT)
    near_recall, near_precision, near_lists = loops(NEAR, NEAR)
    first = budget.stages[0]
    assert first["name"] == "Keras" and stage["name"] == "near"
    assert first["recall_at_1"] == pytest.approx(recall)
    assert first["map_at_r"] == pytest.approx(precision)
    assert stage["recall_at_1"] == pytest.approx(near_recall)
    assert stage["map_at_r"] == pytest.approx(near_precision)
    assert stage["drop"] == pytest.approx(100 * (recall - near_recall))
    common = [len(a & b) / 10 for a, b in zip(lists, near_lists, strict=True)]
    assert stage["overlap_at_10"] == pytest.approx(np.mean(common))
    assert 0.5 < stage["overlap_at_10"] < 1 == first["overlap_at_10"]
    cosines = np.sum(NEAR * EXACT, axis=1) / np.linalg.norm(NEAR, axis=1)
    assert stage["cosine_mean"] == pytest.approx(cosines.mean())
    assert stage["cosine_min"] == pytest.approx(cosines.min())
    assert stage["milliseconds"] == 3.0 and first["milliseconds"] is None
    assert budget.stages == [first, stage] == budget.section()["stages"]


def test_agrees_with_the_metrics_of_the_library():
    first = RetrievalBudget(EXACT, LABELS).stages[0]
    assert first["recall_at_1"] == recall_at_k(EXACT, LABELS, 1)
    assert first["map_at_r"] == pytest.approx(map_at_r(EXACT, LABELS))


def test_queries_of_one_embedder_among_the_rows_of_another():
    budget = RetrievalBudget(EXACT, LABELS, max_drop=50)
    stage = budget.add("mixed", budget.nearest(EXACT, NEAR), EXACT)
    recall, precision, _ = loops(EXACT, NEAR)
    assert stage["recall_at_1"] == pytest.approx(recall)
    assert stage["map_at_r"] == pytest.approx(precision)
    assert stage["cosine_min"] == pytest.approx(1)


def spoilt(found, count):
    """Lists of which the first `count` begin with an image of another class."""
    found = found.copy()
    done = 0
    for i, row in enumerate(found):
        if done < count and LABELS[row[0]] == LABELS[i]:
            row[0] = np.flatnonzero(LABELS != LABELS[i])[0]
            done += 1
    return found


def test_a_stage_over_the_budget_is_refused_with_its_name_and_figures():
    budget = RetrievalBudget(EXACT, LABELS, max_drop=2)
    found = budget.nearest(EXACT)
    budget.add("4 lost", spoilt(found, 4))  # of 240: 1.67 points
    message = r"at most 2.00 points below Keras, (\d\d\.\d\d)\. Received: \d\d"
    with pytest.raises(VerificationError, match=message + ".*'5 lost', 2.08") as caught:
        budget.add("5 lost", spoilt(found, 5))
    assert caught.value.check == "recall"
    assert [stage["name"] for stage in budget.stages] == ["Keras", "4 lost"]


def test_one_query_may_always_be_lost_and_two_may_not():
    some = np.arange(100)
    budget = RetrievalBudget(EXACT[some], LABELS[some], max_drop=0)
    found = budget.nearest(EXACT[some])
    budget.add("one", spoilt(found, 1))
    with pytest.raises(VerificationError, match="at most 1.00.*'two', 2.00 points"):
        budget.add("two", spoilt(found, 2))
    assert budget.section()["allowed_drop"] == 1.0 and budget.max_drop == 0


def test_what_is_not_found_is_no_hit_even_of_the_last_class():
    budget = RetrievalBudget(EXACT, LABELS, max_drop=100)
    found = budget.nearest(EXACT)
    stage = budget.add("nothing", np.full_like(found, -1))
    assert stage["recall_at_1"] == stage["map_at_r"] == stage["overlap_at_10"] == 0


def test_the_query_is_taken_out_of_its_list_wherever_it_is():
    budget = RetrievalBudget(EXACT[:3], LABELS[:3])
    found = [[0, 1, 2], [2, 0, 1], [1, 0, 0]]
    assert budget.without_self(found).tolist() == [[1, 2], [2, 0], [1, 0]]
    # An approximate index may name it twice: then once is left, which is a miss
    # or a hit like any other.
    assert budget.without_self([[0, 0, 1], [1, 0, 2], [2, 0, 1]])[0].tolist() == [0, 1]


def test_short_lists_have_no_map_at_r_and_still_a_recall():
    budget = RetrievalBudget(EXACT, LABELS)
    stage = budget.add("three", budget.nearest(EXACT)[:, :3])
    assert stage["map_at_r"] is None and stage["drop"] == 0


def test_many_images_ask_in_part_and_large_classes_are_not_listed(monkeypatch):
    monkeypatch.setattr(retrieval_budget, "MOST_QUERIES", 50)
    budget = RetrievalBudget(EXACT, LABELS)
    assert len(budget.queries) == 50 and budget.queries[[0, -1]].tolist() == [0, 239]
    asked = NEAR[budget.queries]
    part = budget.add("asked", budget.nearest(asked, EXACT), asked)
    whole = budget.add("all", budget.nearest(NEAR, EXACT), NEAR)
    assert {**part, "name": ""} == {**whole, "name": ""}
    monkeypatch.setattr(retrieval_budget, "MOST_FOUND", 50 * 10)
    large = RetrievalBudget(EXACT, np.repeat([0, 1], 120))
    assert large.depth == 10 and large.stages[0]["map_at_r"] is None


def test_worst_are_lost_first_hits_and_then_lists_with_little_in_common():
    budget = RetrievalBudget(EXACT, LABELS, max_drop=50)
    found = budget.nearest(EXACT)
    changed = spoilt(found, 1)
    (lost,) = np.flatnonzero((changed != found).any(axis=1))
    others = [i for i in range(240) if i != lost][:2]
    changed[others[0], 1:6] = -1  # half of its list
    changed[others[1], 1:4] = -1
    budget.add("changed", changed)
    worst = budget.worst("changed", 3)
    assert [query for query, _, _ in worst] == [lost, *others]
    np.testing.assert_array_equal(worst[0][1], found[lost][:10])
    np.testing.assert_array_equal(worst[0][2], changed[lost][:10])


def test_a_catalogue_of_two_has_lists_of_one():
    budget = RetrievalBudget(EXACT[:2], [0, 1])
    assert budget.depth == 1 and budget.stages[0]["map_at_r"] is None
    assert budget.worst("Keras", 5)[0][1].tolist() == [1]


def test_refuses_and_says_what_it_got():
    with pytest.raises(ValueError, match="points of Recall@1.*max_drop=nan"):
        RetrievalBudget(EXACT, LABELS, max_drop=float("nan"))
    with pytest.raises(ValueError, match=r"each with a label.*=240, len\(labels\)=2"):
        RetrievalBudget(EXACT, LABELS[:2])
    budget = RetrievalBudget(EXACT, LABELS)
    with pytest.raises(ValueError, match=r"\(240, k\).*found.shape=\(3, 10\)"):
        budget.add("short", budget.nearest(EXACT)[:3])
    with pytest.raises(ValueError, match="stage of that name.*name='Keras'"):
        budget.add("Keras", budget.nearest(EXACT))
