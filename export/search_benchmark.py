"""Set the searches of a bundle beside other indices, on one catalogue of vectors.

Each answers one query at a time on one thread. Queries a second are of the time that
its process computes, so that other work on the machine does not count.
"""

import functools
import json
import pathlib
import tempfile
import time

from keras_distill import command_line

K = 10
EXAMPLE = """\
python -m export.search_benchmark
python -m export.search_benchmark --rows 20000 --dim 32 --recall 0.95 --json"""


def main(argv=None):
    args = _parser().parse_args(argv)
    for name, least in (("rows", 1000), ("dim", 2), ("queries", 1)):
        if getattr(args, name) < least:
            raise ValueError(
                f"--{name} must be at least {least}. Received: {getattr(args, name)}"
            )
    import threadpoolctl

    rows, queries, held_out = vectors(args.rows, args.dim, args.queries)
    results = []
    with threadpoolctl.threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        for number, (name, build) in enumerate(CONTENDERS.items()):
            place = pathlib.Path(folder) / str(number)
            place.mkdir()
            try:
                found = measured(build, rows, queries, held_out, place, args)
            except ImportError as error:
                found = {"missing": " ".join(str(error).split())}
            results.append({"search": name, **found})
    if args.json:
        print(json.dumps(results, indent=2))
        return
    print(
        f"{args.rows:,} rows of {args.dim}, {args.queries:,} queries one by one, k = "
        f"{K}, one thread\n\n"
        f"{'':34}{'recall@10':>10}{'queries/s':>11}{'MB':>8}{'build s':>9}"
    )
    for found in results:
        if "missing" in found:
            print(f"{found['search']:34}{found['missing']}")
            continue
        print(
            f"{found['search']:34}{found['recall']:>10.4f}{found['per_second']:>11,.0f}"
            f"{found['megabytes']:>8.1f}{found['build_seconds']:>9.1f}"
        )


def vectors(count, dim, queries, seed=0):
    """Unit rows as embeddings lie: classes of some items, near to each other.

    Returns:
        `rows (count, dim)`, `queries (queries, dim)` and as many others to choose
        settings with; float32. No row is a query.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    middles = rng.standard_normal((max(1, count // 20), dim), np.float32)
    middles += 1.5 * rng.standard_normal((1, dim), np.float32)  # a cone

    def drawn(number):
        some = middles[rng.integers(0, len(middles), number)]
        some = some + 0.5 * rng.standard_normal((number, dim), np.float32)
        return some / np.linalg.norm(some, axis=1, keepdims=True)

    return drawn(count), drawn(queries), drawn(queries)


def measured(build, rows, queries, held_out, folder, args):
    """Builds a search and measures it; CPU seconds throughout."""
    import numpy as np

    from keras_distill.retrieval import exact_search

    began = time.process_time()
    search, size = build(rows, held_out, folder, args)
    built = time.process_time() - began
    search(queries[0])  # the first one loads and allocates
    found = []
    began = time.process_time()
    for query in queries:
        found.append(search(query))
    seconds = time.process_time() - began
    _, true = exact_search(queries, rows, K)
    pairs = zip(found, true, strict=True)
    return {
        "recall": float(np.mean([len({*a.tolist()} & {*b}) / K for a, b in pairs])),
        "per_second": len(queries) / seconds,
        "megabytes": size / 1e6,
        "build_seconds": built,
    }


def _numpy(rows, held_out, folder, args):
    from keras_distill.device.nearest import nearest

    return lambda query: nearest(query[None], rows, K)[1][0], rows.nbytes


def _scann(kind, reader, rows, held_out, folder, args):
    from keras_distill.device.scann_reader import ScannReader
    from keras_distill.retrieval import build_index

    index = build_index(rows, folder, kind, args.recall, held_out)
    if reader:
        index = ScannReader(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return lambda query: index.search(query[None], K)[1][0], size


def _tflite(kind, rows, held_out, folder, args):
    from keras_distill.retrieval import build_search_model
    from keras_distill.retrieval.search_model import embedding_search

    recall = args.recall if kind == "inverted_file" else None
    made = build_search_model(None, rows, held_out, kind, K, recall)
    search = embedding_search(made.model)
    return lambda query: search(query)[0], len(made.model)


def _hnswlib(rows, held_out, folder, args):
    import hnswlib

    index = hnswlib.Index("ip", rows.shape[1])
    index.set_num_threads(1)
    index.init_index(len(rows), M=16, ef_construction=200, random_seed=0)
    index.add_items(rows, num_threads=1)
    index.set_ef(32)
    index.save_index(str(folder / "index"))
    return (
        lambda query: index.knn_query(query, K, num_threads=1)[0][0],
        (folder / "index").stat().st_size,
    )


def _faiss(factory, rows, held_out, folder, args):
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(folder / "index"))
    return (
        lambda query: index.search(query[None], K)[1][0],
        (folder / "index").stat().st_size,
    )


CONTENDERS = {
    "numpy, exact": _numpy,
    "search.tflite, two stages": functools.partial(_tflite, "two_stage"),
    "search.tflite, lists": functools.partial(_tflite, "inverted_file"),
    "ScaNN, brute force": functools.partial(_scann, "brute_force", False),
    "ScaNN, tree": functools.partial(_scann, "tree", False),
    "ScaNN's tree, read by numpy": functools.partial(_scann, "tree", True),
    "hnswlib, M 16, ef 32": _hnswlib,
    "faiss, flat": functools.partial(_faiss, "Flat"),
    "faiss, HNSW32": functools.partial(_faiss, "HNSW32"),
}


def _parser():
    parser = command_line.parser(
        "export.search_benchmark",
        "Set exact numpy, search inside a .tflite, ScaNN, hnswlib and faiss side by "
        "side on one catalogue of vectors. What is not installed is left out.",
        "[options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--rows", type=int, default=100_000, help="of the catalogue (%(default)s)")
    add("--dim", type=int, default=64, help="numbers a row (%(default)s)")
    add("--queries", type=int, default=1000, help="to measure with (%(default)s)")
    add(
        "--recall",
        type=float,
        default=0.99,
        help="what trees and lists have to find of the ten nearest (%(default)s)",
    )
    add("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    command_line.run(main)
