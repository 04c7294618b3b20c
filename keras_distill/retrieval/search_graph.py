"""Search inside a .tflite: the catalogue as weights behind the embedder."""

import numpy as np

from keras_distill.retrieval.inverted_lists import list_scores_bias
from keras_distill.retrieval.row_codes import row_codes
from keras_distill.tflite.graph_writer import GraphWriter, check_size

SIGNATURE = "search"
OUTPUTS = ("ids", "scores", "embedding")
# Below every cosine: what an empty place of a list scores.
_PENALTY = 4.0


def search_graph(model, rows, k, candidates, lists=None, probes=None):
    """Appends a catalogue and its search to an embedder.

    Two stages: all rows are scored with one byte a number (a fully connected operator
    with int8 weights), and the best `candidates` again with two bytes (`row_codes`),
    of which the best `k` are the answer. With `lists`, only the rows of the `probes`
    lists whose centroids are nearest to the query are scored.

    The operators are built in, of versions that the oldest runtime knows. The int8
    weights have one scale: with several, that runtime answers nonsense.

    Args:
        model: Bytes of a .tflite with one image in, one row of length one out; or
            `None` for a graph that is given the row, under the name `embedding`.
        rows: float32 array `(N, D)`, the catalogue, embedded by that file.
        k: Integer in 1..`candidates`, how many neighbours it gives.
        candidates: Integer; at most N, and with lists at most the places in `probes`
            of them.
        lists: `InvertedLists` or `None`.
        probes: Integer in 1..L, with `lists`.

    Returns:
        Bytes: signature `search(image: uint8[1, height, width, channels]) -> ids:
        int32[1, k], scores: float32[1, k], embedding: float32[1, D]`; ids are rows of
        the catalogue, nearest first. With lists an id may be -1, behind all others,
        where the probed lists hold fewer than `k` rows.

    Raises:
        ValueError: If the catalogue is larger than a .tflite can be.
    """
    # Two bytes a number, the ids, and padding.
    check_size(len(model or b"") + 2 * rows.size + 4 * len(rows))
    if model is None:
        graph = GraphWriter.of_row("embedding", rows.shape[1])
    else:
        graph = GraphWriter(model)
    embedding = graph.outputs[0]
    codes = row_codes(rows)
    dim = rows.shape[1]
    scales = graph.constant("search/scales", codes.scales[None])
    scaled = graph.operator("MUL", [embedding, scales], "search/scaled", (1, dim))
    if lists is None:
        found = _all_rows(graph, scaled, codes, candidates)
    else:
        found = _probed_rows(graph, embedding, scaled, codes, candidates, lists, probes)
    scores = _scored_again(graph, embedding, scaled, codes.mean, found)
    best, places = graph.operators(
        "TOPK_V2",
        [scores, _scalar(graph, "k", k)],
        [("search/scores", (1, k), "float32"), ("search/places", (1, k), "int32")],
    )
    ids = graph.operator(
        "GATHER", [found["ids"], places], "search/ids", (1, k), "int32", axis=0
    )
    outputs = dict(zip(OUTPUTS, (ids, best, embedding), strict=True))
    taken = "embedding" if model is None else "image"
    return graph.finish(SIGNATURE, {taken: graph.inputs[0]}, outputs)


def _all_rows(graph, scaled, codes, candidates):
    count, dim = codes.codes.shape
    weights = graph.constant("search/codes", codes.codes, codes.step)
    residuals = graph.constant("search/residuals", codes.residuals, codes.residual_step)
    coarse = graph.operator(
        # Version 3: float data with int8 weights. -1: no bias.
        "FULLY_CONNECTED",
        [scaled, weights, -1],
        "search/coarse",
        (1, count),
        version=3,
    )
    places = _candidates(graph, coarse, candidates)
    parts = [
        _gathered(graph, name, source, places, (candidates, dim), step)
        for name, source, step in (
            ("codes", weights, codes.step),
            ("residuals", residuals, codes.residual_step),
        )
    ]
    return {"parts": parts, "ids": places, "penalty": None}


def _probed_rows(graph, embedding, scaled, codes, candidates, lists, probes):
    count, capacity = lists.members.shape
    dim, places = codes.codes.shape[1], probes * capacity
    centroids = graph.constant("search/centroids", lists.centroids)
    bias = graph.constant("search/bias", list_scores_bias(lists.centroids))
    near = graph.operator(
        "FULLY_CONNECTED", [embedding, centroids, bias], "search/near", (1, count)
    )
    chosen = _candidates(graph, near, probes, "lists")
    empty = lists.members < 0
    flat = {}
    for name, values, step in (
        ("codes", codes.codes, codes.step),
        ("residuals", codes.residuals, codes.residual_step),
    ):
        table = np.where(empty[..., None], np.int8(0), values[lists.members])
        source = graph.constant(f"search/{name}", table, step)
        some = _gather(
            graph, f"{name}/probed", source, chosen, (probes, capacity, dim), step
        )
        flat[name] = _reshaped(graph, f"{name}/flat", some, (places, dim), step)
    members = graph.constant("search/members", lists.members)
    some = graph.operator(
        "GATHER",
        [members, chosen],
        "search/probed",
        (probes, capacity),
        "int32",
        axis=0,
    )
    ids = _reshaped(graph, "members/flat", some, (places,), dtype="int32")
    # -1 for an empty place becomes the penalty, every row's number 0.
    signs = graph.operator(
        "CAST", [ids], "search/signs", (places,), inDataType=2, outDataType=0
    )
    zero = graph.constant("search/zero", np.zeros(1, np.float32))
    signs = graph.operator("MINIMUM", [signs, zero], "search/negative", (places,))
    weight = graph.constant("search/penalty", np.full(1, _PENALTY, np.float32))
    penalty = graph.operator("MUL", [signs, weight], "search/penalties", (places,))
    floats = graph.operator(
        "DEQUANTIZE", [flat["codes"]], "search/probed_codes", (places, dim), version=2
    )
    # The query as the weights of one unit: a tenth quicker than with the rows as
    # weights, which a runtime packs anew for each query.
    coarse = graph.operator(
        "FULLY_CONNECTED", [floats, scaled, -1], "search/products", (places, 1)
    )
    coarse = _reshaped(graph, "products/flat", coarse, (1, places), dtype="float32")
    coarse = graph.operator("ADD", [coarse, penalty], "search/coarse", (1, places))
    best = _candidates(graph, coarse, candidates)
    parts = [
        _gathered(graph, name, flat[name], best, (candidates, dim), step)
        for name, step in (("codes", codes.step), ("residuals", codes.residual_step))
    ]
    ids, penalty = (
        graph.operator(
            "GATHER", [source, best], f"search/{name}", (candidates,), dtype, axis=0
        )
        for name, source, dtype in (
            ("candidate_ids", ids, "int32"),
            ("candidate_penalties", penalty, "float32"),
        )
    )
    return {"parts": parts, "ids": ids, "penalty": penalty}


def _scored_again(graph, embedding, scaled, mean, found):
    """Scores `(1, candidates)` from both bytes: cosines."""
    codes, residuals = found["parts"]
    candidates, dim = graph.shape(codes)
    rows = graph.operator("ADD", [codes, residuals], "search/rows", (candidates, dim))
    products = graph.operator("MUL", [rows, scaled], "search/terms", (candidates, dim))
    axis = graph.constant("search/axis", np.array([1], np.int32))
    sums = graph.operator("SUM", [products, axis], "search/sums", (candidates,))
    centre = graph.constant("search/mean", mean[None])
    terms = graph.operator("MUL", [embedding, centre], "search/mean_terms", (1, dim))
    offset = graph.operator(
        "SUM", [terms, axis], "search/offset", (1, 1), keepDims=True
    )
    scores = graph.operator("ADD", [offset, sums], "search/cosines", (1, candidates))
    if found["penalty"] is not None:
        scores = graph.operator(
            "ADD", [scores, found["penalty"]], "search/fine", (1, candidates)
        )
    return scores


def _candidates(graph, scores, count, name="candidates"):
    """The places `(count,)` of the highest of `scores (1, N)`."""
    _, places = graph.operators(
        "TOPK_V2",
        [scores, _scalar(graph, name, count)],
        [
            (f"search/{name}/scores", (1, count), "float32"),
            (f"search/{name}/places", (1, count), "int32"),
        ],
    )
    return _reshaped(graph, f"{name}/flat", places, (count,), dtype="int32")


def _gathered(graph, name, source, places, shape, step):
    """Rows of an int8 table, as floats."""
    some = _gather(graph, f"{name}/chosen", source, places, shape, step)
    return graph.operator("DEQUANTIZE", [some], f"search/{name}/f", shape, version=2)


def _gather(graph, name, source, places, shape, step):
    (some,) = graph.operators(
        "GATHER",
        [source, places],
        [(f"search/{name}", shape, "int8")],
        scale=step,
        version=2,
        axis=0,
    )
    return some


def _reshaped(graph, name, tensor, shape, step=None, dtype="int8"):
    size = np.array(shape, np.int32)
    target = graph.constant(f"search/{name}/shape", size)
    (flat,) = graph.operators(
        "RESHAPE",
        [tensor, target],
        [(f"search/{name}", shape, dtype)],
        scale=step,
        newShape=size,
    )
    return flat


def _scalar(graph, name, value):
    return graph.constant(f"search/{name}", np.array(value, np.int32))
