"""What a bundle retrieves at each stage between Keras and a device."""

import time

import numpy as np

from keras_distill.device.scann_folder import ScannFolder
from keras_distill.retrieval.row_codes import row_codes
from keras_distill.retrieval.runtime_stage import embed_elsewhere
from keras_distill.tflite.from_keras import keras_rows

BATCH = 256


def embedded_rows(student, embedders, catalogue, report):
    """`{"keras": (N, D), "float32": (N, D), "int8": (N, D)}` of the catalogue."""
    rows = {"keras": [], **{name: [] for name in embedders}}
    done = 0
    for start in range(0, len(catalogue), BATCH):
        images = catalogue.read(range(start, min(start + BATCH, len(catalogue))))
        rows["keras"].append(keras_rows(student, images))
        for name, embedder in embedders.items():
            rows[name].append(embedder.embed(images))
        done += len(images)
        report("Embedding the catalogue", done, len(catalogue))
    return {name: np.concatenate(some) for name, some in rows.items()}


def add_mixed_stages(budget, models, rows, catalogue, runtimes, report):
    """Queries of one embedder among the rows of another: of files, of runtimes."""
    budget.add(
        "float32 among int8",
        budget.nearest(rows["float32"], rows["int8"]),
        rows["float32"],
    )
    for i, python in enumerate(runtimes):
        report("Embedding with other runtimes", i, len(runtimes))
        asked, about = embed_elsewhere(
            python, models["int8"], catalogue, budget.queries
        )
        budget.add(
            f"int8, {about['runtime']} {about['version']}",
            budget.nearest(asked, rows["int8"]),
            asked,
            about["milliseconds"],
        )
        report("Embedding with other runtimes", i + 1, len(runtimes))


def add_search_stages(budget, folder, written, rows):
    """What the search file's two bytes a number retrieve, and the index."""
    held = row_codes(rows).decoded()
    budget.add("int8, rows of search.tflite", budget.nearest(rows, held), rows)
    if "scann" not in written["searchers"]:
        return
    index = ScannFolder(folder / "scann")
    asked = rows[budget.queries]
    start = time.perf_counter()
    _, found = index.search(asked, min(budget.depth + 1, len(rows)))
    milliseconds = 1e3 * (time.perf_counter() - start) / len(asked)
    budget.add("int8, ScaNN", budget.without_self(found), asked, milliseconds)
