import numpy as np
import pytest

from keras_distill import device, tflite
from keras_distill.device import Searcher
from keras_distill.retrieval import build_search_model
from keras_distill.retrieval import search_model as module
from keras_distill.retrieval.inverted_lists import inverted_lists
from keras_distill.retrieval.search_graph import search_graph
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.graph_writer import GraphWriter, check_size
from keras_distill.tflite.op_versions import NEWEST_VERSION
from tests import tiny_embedder


@pytest.fixture(scope="module")
def embedder():
    return tiny_embedder.converted("int8")


@pytest.fixture(scope="module")
def rows(embedder):
    return device.Embedder(embedder).embed(tiny_embedder.images()[0])


@pytest.fixture(scope="module")
def many(rows):
    """A catalogue of 3,000: the embeddings and others around them."""
    rng = np.random.default_rng(0)
    some = rows[rng.integers(0, len(rows), 3000)] + 0.05 * rng.normal(size=(3000, 16))
    some[: len(rows)] = rows
    return (some / np.linalg.norm(some, axis=1, keepdims=True)).astype(np.float32)


def images(count=40):
    return tiny_embedder.images(seed=2)[0][:count]


def queries(count=40):
    return device.Embedder(tiny_embedder.converted("int8")).embed(images(count))


def exact(embeddings, rows, k):
    """Brute force in float64."""
    scores = embeddings.astype(np.float64) @ rows.T.astype(np.float64)
    return np.sort(scores, axis=1)[:, ::-1][:, :k], scores


def check_answers(model, rows, k, least=1.0):
    scores, indices, embeddings = Searcher(model).search(images(), len(rows))
    best, all_scores = exact(embeddings, rows, k)
    assert scores.shape == indices.shape == (40, k)
    true = np.take_along_axis(all_scores, indices, axis=1)
    np.testing.assert_allclose(scores, true, atol=2e-5)
    assert np.all(np.diff(scores, axis=1) <= 0)
    assert all(len({*row}) == k for row in indices.tolist())
    assert np.mean(true >= best[:, -1:] - 2e-5) >= least


def test_finds_what_exact_search_finds_with_its_own_embedding(embedder, many):
    check_answers(build_search_model(embedder, many, queries()).model, many, 10)


def test_embeds_as_the_file_that_embedded_the_catalogue(embedder, rows):
    model = build_search_model(embedder, rows, queries()).model
    _, _, embeddings = Searcher(model).search(images())
    expected = device.Embedder(embedder).embed(images())
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)


def test_lists_find_it_too_where_all_are_probed_and_nearly_where_some_are(
    embedder, many
):
    lists = inverted_lists(many, 20)
    check_answers(search_graph(embedder, many, 10, 100, lists, 20), many, 10)
    check_answers(search_graph(embedder, many, 10, 100, lists, 5), many, 10, 0.8)


def test_empty_places_of_lists_are_never_found_while_there_are_rows(embedder, rows):
    few = rows[:10]
    lists = inverted_lists(few, 4)  # of 3 places each: 2 stay empty
    check_answers(search_graph(embedder, few, 10, 12, lists, 4), few, 10)
    # One list of three places: what it cannot fill is -1, at the end.
    model = search_graph(embedder, few, 3, 3, lists, 1)
    scores, indices, _ = Searcher(model).search(images(), len(few))
    assert np.all((indices >= 0) == (scores > -2))
    assert np.all(np.diff(np.where(indices < 0, -1, 0), axis=1) <= 0)
    assert (indices < 0).any() and (indices[:, 0] >= 0).all()


def test_it_is_built_in_operators_that_the_oldest_runtime_knows(embedder, many):
    for lists in (None, inverted_lists(many, 20)):
        graph = read_graph(search_graph(embedder, many, 10, 64, lists, lists and 4))
        for name, version in graph.newest_versions().items():
            assert version <= NEWEST_VERSION[name]
        assert set(graph.signatures) == {"search"}
        hybrid = [w for op, d, w in graph.weighted() if op.name == "FULLY_CONNECTED"]
        assert hybrid[-1].scales <= 1  # several would be nonsense on old runtimes


def test_the_codes_of_the_catalogue_are_in_the_file_once(embedder, many):
    model = search_graph(embedder, many, 10, 64)
    assert len(model) < len(embedder) + 2 * many.size + 8000


def test_the_facts_are_measured(embedder, many):
    made = build_search_model(embedder, many, queries(), k=7)
    assert made.facts["kind"] == "two_stage" and made.facts["k"] == 7
    assert made.facts["bytes"] == len(made.model) and made.facts["queries"] == 40
    assert made.facts["recall"] >= 0.999 and made.facts["candidates"] == 64
    assert made.facts["lists"] is made.facts["probes"] is None
    assert 0 <= made.facts["score_difference"] < 2e-5
    ask = module.embedding_search(build_search_model(None, many, queries(), k=7).model)
    same = 0
    for query in queries():
        nearest = np.argsort(-(many @ query), kind="stable")[:7]
        same += len({*ask(query)[0].tolist()} & {*nearest.tolist()})
    assert made.facts["overlap"] == pytest.approx(same / 280, abs=0.01)
    assert made.facts["operators"] == read_graph(made.model).newest_versions()


def test_more_candidates_are_taken_until_enough_is_found(embedder, many, monkeypatch):
    found = iter([0.98, 0.9985, 0.9991])
    monkeypatch.setattr(module, "search_recall", lambda *_: next(found))
    assert build_search_model(embedder, many, queries(3)).facts["candidates"] == 256


def test_lists_are_for_many_rows_and_fall_back_where_a_quarter_is_not_enough(
    embedder, many, monkeypatch
):
    monkeypatch.setattr(module, "LISTS_FROM", 2999)
    facts = build_search_model(embedder, many, queries(), recall=0.5).facts
    assert facts["kind"] == "inverted_file" and facts["lists"] == 55
    assert facts["probes"] == 8 and facts["recall"] >= 0.5
    facts = build_search_model(embedder, many, queries(), recall=0.9999).facts
    assert facts["kind"] == "two_stage" and facts["recall"] >= 0.9999


def test_what_does_not_find_enough_is_refused(embedder, many, monkeypatch):
    monkeypatch.setattr(module, "search_recall", lambda *_: 0.5)
    with pytest.raises(
        tflite.VerificationError, match="0.999.*Received: 0.5"
    ) as caught:
        build_search_model(embedder, many, queries(3))
    assert caught.value.check == "search"


def test_scores_that_are_not_those_of_the_rows_are_refused(embedder, many, monkeypatch):
    def spoilt(model, rows, **others):
        return search_graph(model, np.roll(rows, 1, axis=0), **others)

    monkeypatch.setattr(module, "search_graph", spoilt)
    with pytest.raises(tflite.VerificationError, match="score within 0.001"):
        build_search_model(embedder, many, queries(3))


def test_duplicates_of_a_row_are_all_found_the_first_one_first(embedder, rows):
    twice = np.concatenate([rows, rows])
    made = build_search_model(embedder, twice, queries())
    _, indices, _ = Searcher(made.model).search(images(), len(twice))
    assert np.array_equal(indices[:, 1::2], indices[:, ::2] + len(rows))


@pytest.mark.parametrize("count", [1, 2, 11])
def test_a_small_catalogue_gives_all_it_has(embedder, rows, count):
    made = build_search_model(embedder, rows[:count], queries(4))
    assert made.facts["k"] == min(10, count)
    scores, indices, _ = Searcher(made.model).search(images(4), count)
    assert indices.shape == (4, min(10, count))


def test_refuses_and_says_what_it_got(embedder, rows):
    def build(**changes):
        arguments = {"embeddings": rows, "queries": queries(2), **changes}
        build_search_model(embedder, **arguments)

    with pytest.raises(ValueError, match="'two_stage', 'inverted_file' or.*kind='pq'"):
        build(kind="pq")
    for k in (0, 2.0, True):
        with pytest.raises(ValueError, match=f"positive integer.*k={k}"):
            build(k=k)
    for recall in (0, 1.5):
        with pytest.raises(ValueError, match=rf"\(0, 1\]. Received: recall={recall}"):
            build(recall=recall)
    for wrong in (queries(2)[:0], queries(2)[:, 1:], queries(2)[0]):
        with pytest.raises(ValueError, match="row of 16 numbers.*queries.shape="):
            build(queries=wrong)
    with pytest.raises(ValueError, match="rows of length one"):
        build(embeddings=2 * rows)


def test_a_catalogue_larger_than_a_tflite_can_be_is_refused(embedder):
    rows = np.broadcast_to(np.float32(0.125), (17_000_000, 64))  # no memory is taken
    with pytest.raises(ValueError, match="less than 2,147,483,647.*2,24"):
        search_graph(embedder, rows, 10, 64)
    check_size(2_000_000_000)


def test_the_writer_refuses_what_the_oldest_runtime_does_not_know(embedder):
    graph = GraphWriter(embedder)
    with pytest.raises(ValueError, match="at most 3.*TOPK_V2 version=4"):
        graph.operator("TOPK_V2", [], "a", (1,), version=4)
    with pytest.raises(ValueError, match="no such field. Received: sideways"):
        graph.operator("GATHER", [], "a", (1,), sideways=1)
