"""Choose how a .tflite searches a catalogue, by measuring what it finds."""

import dataclasses
import functools
import time

import numpy as np

from keras_distill.device.interpreter import open_interpreter
from keras_distill.device.searcher import Searcher
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.inverted_lists import inverted_lists
from keras_distill.retrieval.scann_index import unit_rows
from keras_distill.retrieval.search_graph import search_graph
from keras_distill.retrieval.spread import spread
from keras_distill.tflite.graph import read_graph
from keras_distill.tflite.verification_error import VerificationError

KINDS = ("two_stage", "inverted_file")
# Up to here looking at every row with one byte a number is quick enough.
LISTS_FROM = 200_000
NEIGHBOURS, MOST_QUERIES = 10, 200
RECALL = {"two_stage": 0.999, "inverted_file": 0.99}
LEAST_CANDIDATES, MOST_CANDIDATES = 64, 4096
LEAST_PROBES = 8
TIMED = 30
# Scores this near are a tie: two bytes a number do not tell such rows apart.
TIE = 2e-5
MOST_SCORE_DIFFERENCE = 1e-3


@dataclasses.dataclass(frozen=True)
class SearchModel:
    """A .tflite that searches, and what was measured of it.

    Attributes:
        model: Bytes of the file.
        facts: Dictionary: `kind`, `k`, `candidates`, `lists` and `probes` (`None` for
            two stages), `bytes`, `operators`, `queries`, `recall` (the share of the
            `k` nearest rows that it finds, ties counted as found), `overlap` (the share
            of its ids that exact search gives too), `score_difference` (the largest to
            the exact score of what it found) and `milliseconds` (the median from an
            image to its ids, one thread).
    """

    model: bytes
    facts: dict


def build_search_model(
    model, embeddings, queries, kind=None, k=NEIGHBOURS, recall=None
):
    """Puts a catalogue and its search behind an embedder, in one .tflite.

    The file takes one image and gives ids, scores and its embedding (see
    `keras_distill.retrieval.search_graph.search_graph`), with built-in operators
    alone. How many candidates it scores twice, and how many lists it looks into, is
    chosen by running its search on `queries`: the fewest that find `recall` of what
    exact search finds.

    Args:
        model: Bytes of the .tflite that embedded the catalogue and will embed the
            queries; or `None` for a file that is given embeddings: `search(embedding:
            float32[1, D])`.
        embeddings: float array `(N, D)`, rows of length one: the catalogue.
        queries: float array `(Q, D)`, embeddings by that file to measure with, best
            none of the catalogue; 200 of them are used at most.
        kind: `"two_stage"`, which looks at every row; `"inverted_file"`, which looks
            into the nearest of `sqrt(N)` lists; or `None` for lists above 200,000
            rows, where a quarter of them is enough to reach `recall`, else two
            stages. Defaults to `None`.
        k: Integer from 1, how many neighbours the file gives; no more than N.
            Defaults to `10`.
        recall: The part of the `k` nearest that must be found, in (0, 1]. Defaults to
            0.999 in two stages and 0.99 with lists.

    Returns:
        A `SearchModel`.

    Raises:
        VerificationError: A `ValueError` whose `check` is `"search"`; if `recall` is
            not reached, or scores are wrong.
        ValueError: If an argument is not as described, or the catalogue is larger
            than a .tflite can be.
    """
    rows, queries = _checked(embeddings, queries, kind, k, recall)
    k = min(k, len(rows))
    with_lists = len(rows) > LISTS_FROM if kind is None else kind == "inverted_file"
    best = 0.0
    if with_lists:
        target = RECALL["inverted_file"] if recall is None else recall
        count = max(1, round(len(rows) ** 0.5))
        lists = inverted_lists(rows, count)
        most = count if kind else max(LEAST_PROBES, count // 4)
        for probes in _doubled(min(LEAST_PROBES, count), most):
            places = probes * lists.members.shape[1]
            candidates = min(4 * LEAST_CANDIDATES, places)
            graph = functools.partial(
                search_graph,
                rows=rows,
                k=min(k, candidates),
                candidates=candidates,
                lists=lists,
                probes=probes,
            )
            shape = {"candidates": candidates, "lists": count, "probes": probes}
            found = _measured(graph(None), rows, queries)
            if found["recall"] >= target:
                made = graph(model)
                return _complete(made, "inverted_file", shape, found, model is None)
            best = max(best, found["recall"])
    if kind != "inverted_file":
        target = RECALL["two_stage"] if recall is None else recall
        least, most = (
            min(len(rows), max(k, n)) for n in (LEAST_CANDIDATES, MOST_CANDIDATES)
        )
        for candidates in _doubled(least, most):
            graph = functools.partial(
                search_graph, rows=rows, k=k, candidates=candidates
            )
            shape = {"candidates": candidates, "lists": None, "probes": None}
            found = _measured(graph(None), rows, queries)
            if found["recall"] >= target:
                made = graph(model)
                return _complete(made, "two_stage", shape, found, model is None)
            best = max(best, found["recall"])
    raise VerificationError(
        f"The search file must find at least {target} of the {k} nearest rows. "
        f"Received: {best:.4f} at best",
        "search",
    )


def search_recall(found, queries, rows):
    """The share of the nearest rows that were found, ties counted as found.

    Args:
        found: Integers `(Q, k)`, rows of the catalogue; -1 for none.
        queries: float32 array `(Q, D)`, rows of length one.
        rows: float32 array `(N, D)`, rows of length one.

    Returns:
        Float in [0, 1]: a row counts if its exact score is within `TIE` of the k-th
        best of its query.
    """
    best, _ = exact_search(queries, rows, found.shape[1])
    scores = _exact_scores(found, queries, rows)
    return float(np.mean(scores >= best[:, -1:].astype(np.float64) - TIE))


def _exact_scores(found, queries, rows):
    """Products in float64 of each query and what it found; -inf for nothing."""
    chosen = rows[np.maximum(found, 0)].astype(np.float64)
    scores = np.einsum("qd,qkd->qk", queries.astype(np.float64), chosen)
    return np.where(found < 0, -np.inf, scores)


def _measured(search, rows, queries):
    """What a graph that is given embeddings finds; its scores are checked."""
    indices, scores = _answers(search, queries)
    exact = _exact_scores(indices, queries, rows)
    difference = float(np.abs(scores - exact)[indices >= 0].max())
    if not difference <= MOST_SCORE_DIFFERENCE:
        raise VerificationError(
            f"The search file must score within {MOST_SCORE_DIFFERENCE} of the exact "
            f"score of what it found. Received: {difference}",
            "search",
        )
    _, nearest = exact_search(queries, rows, indices.shape[1])
    pairs = zip(indices.tolist(), nearest.tolist(), strict=True)
    same = sum(len({*found} & {*own}) for found, own in pairs)
    return {
        "queries": len(queries),
        "recall": search_recall(indices, queries, rows),
        "overlap": same / nearest.size,
        "score_difference": difference,
    }


def _answers(search, queries):
    ask, found = embedding_search(search), [[], []]
    for query in queries:
        for kept, answer in zip(found, ask(query), strict=True):
            kept.append(answer)
    return np.array(found[0], np.int64), np.array(found[1])


def embedding_search(model):
    """A function from an embedding `(D,)` to `ids (k,)` and `scores (k,)`.

    Args:
        model: Bytes of a search file that is given embeddings.
    """
    _, interpreter = open_interpreter(model)
    (taken,) = (detail["index"] for detail in interpreter.get_input_details())
    ids, scores, _ = (detail["index"] for detail in interpreter.get_output_details())

    def search(embedding):
        interpreter.set_tensor(taken, embedding[None])
        interpreter.invoke()
        return interpreter.get_tensor(ids)[0], interpreter.get_tensor(scores)[0]

    return search


def _complete(model, kind, shape, found, of_embeddings):
    if of_embeddings:
        (row,) = read_graph(model).signatures["search"]["inputs"].values()
        ask, query = embedding_search(model), np.zeros(row.shape[1], np.float32)
    else:
        searcher = Searcher(model)
        ask, query = searcher.search, np.zeros((1, *searcher.image_shape), np.uint8)
    times = []
    for _ in range(TIMED):
        start = time.perf_counter()
        ask(query)
        times.append(time.perf_counter() - start)
    graph = read_graph(model)
    facts = {
        "kind": kind,
        "k": graph.signatures["search"]["outputs"]["ids"].shape[1],
        **shape,
        "bytes": len(model),
        "operators": graph.newest_versions(),
        **found,
        "milliseconds": 1e3 * float(np.median(times)),
    }
    return SearchModel(model, facts)


def _doubled(least, most):
    """`least`, its double and so on, and `most` at last."""
    while least < most:
        yield least
        least *= 2
    yield most


def _checked(embeddings, queries, kind, k, recall):
    rows = unit_rows(embeddings)
    queries = np.asarray(queries, np.float32)
    if queries.ndim != 2 or queries.shape[1] != rows.shape[1] or not len(queries):
        raise ValueError(
            f"`queries` must be at least one row of {rows.shape[1]} numbers. "
            f"Received: queries.shape={queries.shape}"
        )
    queries = unit_rows(queries[spread(len(queries), MOST_QUERIES)])
    if kind is not None and kind not in KINDS:
        raise ValueError(
            f"`kind` must be one of {', '.join(map(repr, KINDS))} or None. "
            f"Received: kind={kind!r}"
        )
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"`k` must be a positive integer. Received: k={k!r}")
    if recall is not None and not 0 < recall <= 1:
        raise ValueError(f"`recall` must lie in (0, 1]. Received: recall={recall}")
    return rows, queries
