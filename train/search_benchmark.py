"""Time our exact search against a flat faiss index, on the same cores."""

import concurrent.futures
import multiprocessing
import os
import time

from keras_distill import command_line
from train import memory

EXAMPLE = """\
python -m train.search_benchmark
python -m train.search_benchmark --rows 20000 --dim 32 --k 100 --repeats 5"""


def main(argv=None):
    args = _parser().parse_args(argv)
    for name in ("rows", "dim", "k", "threads", "repeats"):
        if getattr(args, name) < 1:
            raise ValueError(
                f"--{name} must be at least 1. Received: {getattr(args, name)}"
            )
    if args.k > args.rows:
        raise ValueError(f"--k must be at most --rows. Received: {args.k}, {args.rows}")
    size = args.rows, args.dim, args.k, args.metric, args.threads
    # Processes of their own, in turn: neither's threads or memory touch the other.
    context = multiprocessing.get_context("spawn")
    best, peaks, found = {}, {}, {}
    with (
        concurrent.futures.ProcessPoolExecutor(1, context) as ours,
        concurrent.futures.ProcessPoolExecutor(1, context) as theirs,
    ):
        for _ in range(args.repeats):
            for name, pool in ("keras_distill", ours), ("faiss", theirs):
                measured = pool.submit(_measured, name, *size).result()
                found[name] = measured.pop("indices")
                # A later search finds memory that an earlier one left behind.
                peaks[name] = max(peaks.get(name, 0), measured["peak"] or 0)
                best[name] = min(
                    best.get(name, measured), measured, key=lambda m: m["seconds"]
                )
    same = (found["keras_distill"] == found["faiss"]).mean()
    print(
        f"{args.rows:,} queries among {args.rows:,} rows of {args.dim}, "
        f"{args.metric}, k = {args.k}, {args.threads} threads, "
        f"best of {args.repeats}\n\n"
        f"{'':24}{'seconds':>10}{'CPU s':>10}{'peak MB above the embeddings':>32}"
    )
    for name, title in ("keras_distill", "exact_search"), ("faiss", "faiss IndexFlat"):
        measured = best[name]
        peak = f"{peaks[name] / 2**20:,.0f}" if peaks[name] else "not known here"
        print(
            f"{title:24}{measured['seconds']:>10.2f}{measured['cpu']:>10.2f}{peak:>32}"
        )
    ratio = best["keras_distill"]["seconds"] / best["faiss"]["seconds"]
    print(
        f"\nratio of the times {ratio:.2f}; {same:.3%} of the neighbours are the same"
    )


def _measured(name, rows, dim, k, metric, threads):
    """Searches once, in a process of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)  # read when numpy is imported
    import numpy as np

    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((rows, dim), dtype=np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    search = _ours if name == "keras_distill" else _faiss
    few = embeddings[: max(k, 600)]
    search(few, k, metric, threads)  # loads libraries, starts threads
    before = memory.peak(reset=True)
    began, cpu_began = time.perf_counter(), time.process_time()
    indices = search(embeddings, k, metric, threads)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    after = memory.peak()
    peak = None if before is None else after - before
    return {"seconds": seconds, "cpu": cpu, "peak": peak, "indices": indices}


def _ours(embeddings, k, metric, threads):
    from keras_distill.retrieval import exact_search

    return exact_search(embeddings, embeddings, k, metric)[1]


def _faiss(embeddings, k, metric, threads):
    try:
        import faiss
    except ImportError:
        raise ImportError("The comparison needs `pip install faiss-cpu`") from None
    faiss.omp_set_num_threads(threads)
    dim = embeddings.shape[1]
    index = faiss.IndexFlatIP(dim) if metric == "cosine" else faiss.IndexFlatL2(dim)
    index.add(embeddings)
    return index.search(embeddings, k)[1]


def _parser():
    parser = command_line.parser(
        "train.search_benchmark",
        "Search random unit rows among themselves, with the library's exact search "
        "and with a flat faiss index, in turn, and print the times, their ratio and "
        "the memory. Needs faiss-cpu.",
        "[options]",
        EXAMPLE,
    )
    add = parser.add_argument
    add("--rows", type=int, default=60_000, help="queries and gallery (%(default)s)")
    add("--dim", type=int, default=128, help="width of a row (%(default)s)")
    add("--k", type=int, default=10, help="neighbours of a query (%(default)s)")
    add(
        "--metric",
        choices=("cosine", "euclidean"),
        default="cosine",
        help="inner products or squared distances in faiss (%(default)s)",
    )
    add("--threads", type=int, default=2, help="cores for each (%(default)s)")
    add("--repeats", type=int, default=3, help="the best one counts (%(default)s)")
    return parser


if __name__ == "__main__":
    command_line.run(main)
