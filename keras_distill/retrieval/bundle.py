"""Write a bundle: an embedder for a phone, its catalogue, and proof of both."""

import hashlib

import numpy as np

from keras_distill import atomic, tflite
from keras_distill.device.embedder import Embedder
from keras_distill.device.open_bundle import open_bundle
from keras_distill.retrieval.bundle_manifest import (
    files_of,
    manifest_head,
    write_manifest,
)
from keras_distill.retrieval.bundle_stages import (
    add_mixed_stages,
    add_search_stages,
    embedded_rows,
)
from keras_distill.retrieval.catalogue_part import (
    GOLDEN_IMAGES,
    GOLDEN_NEIGHBOURS,
    catalogue_thresholds,
    write_catalogue,
    write_golden,
    write_search,
)
from keras_distill.retrieval.check_out import check_out
from keras_distill.retrieval.embedder_part import FILES, INT8_MODES, embedder_part
from keras_distill.retrieval.exact_search import exact_search
from keras_distill.retrieval.group_part import check_group_options, group_part
from keras_distill.retrieval.report_page import report_page
from keras_distill.retrieval.retrieval_budget import (
    RetrievalBudget,
    check_max_drop,
)
from keras_distill.retrieval.runtime_stage import check_runtimes
from keras_distill.retrieval.spread import spread
from keras_distill.retrieval.task_searcher import check_task_library, task_searcher
from keras_distill.retrieval.thumbnails import thumbnails as thumbnails_of
from keras_distill.retrieval.thumbnails import write_thumbnails
from keras_distill.tflite.convert import embedder_of

MOST_HELD_OUT, MOST_QUERIES = 1000, 500
PAGE, WORST_QUERIES = "report.html", 12


def write_bundle(
    out,
    student,
    calibration,
    catalogue,
    held_out=None,
    recipe=None,
    overwrite=False,
    index=None,
    min_cosine_mean=0.999,
    min_cosine=0.98,
    max_ratio=0.45,
    max_drop=0.5,
    runtimes=(),
    scorer=None,
    degradation=None,
    keep=None,
    rescale_above=2,
    threshold=0.0,
    max_score_difference=0.15,
    max_score_difference_mean=0.02,
    min_rank_correlation=0.98,
    thumbnails=True,
    false_match_rate=None,
    index_recall=0.99,
    task_library=False,
    neighbours=10,
    mode="int8",
    progress=None,
):
    """Exports an embedder and its catalogue as a folder that a device opens.

    The student is converted to float32 and to int8, both files are verified against
    it (see `keras_distill.tflite.verify`), the catalogue is embedded by the int8
    file, the very one that will embed the queries, and indexed. What it retrieves
    is measured (see `RetrievalBudget`): each image of the catalogue is searched
    among the others, by the embeddings of Keras, of both files, of the float file
    among those of the int8 file, of every runtime, and in the index. When any check
    fails or any of these stages costs too much, nothing is written.

    The folder holds `manifest.json`, `embed_f32.tflite`, `embed_int8.tflite`,
    `search.tflite` (from an image to its neighbours in the catalogue, see
    `build_search_model`), `ids.json`, `scann/` (the index, and its rows for numpy; the
    rows alone where ScaNN is not installed, and the manifest says so), `queries.npy`
    (embeddings that searches were measured with), `report.html`, a page of all
    that was measured, and `golden.npz`, some images with their embeddings and
    neighbours to check a device with. `thumbnails/` is for those who look at what a
    search finds; no search needs it. With a `scorer` a
    device can ask with several images as one query (`Bundle.search_group`): then
    there are `score_f32.tflite` and `score_int8.tflite` too, verified by
    `keras_distill.tflite.verify_scorer`, and `golden.npz` has scores and a group.

    Args:
        out: Path of the folder to write.
        student: `keras.Model` from images to rows of length one, see
            `keras_distill.tflite.convert`.
        calibration: uint8 array `(count, height, width, channels)` of training
            images, which set the ranges of the int8 file; 200 or more.
        catalogue: `keras_distill.data.ImageSet`, the images to find, with their
            ids, labels and class names.
        held_out: uint8 array of images to compare embeddings on, none of them
            trained or calibrated on. Defaults to up to 1,000 of the catalogue.
        recipe: Dictionary that says how the student was trained, kept in the
            manifest with its fingerprint. Defaults to none.
        overwrite: Whether a bundle that is there already is replaced; it stays
            untouched until the new one is complete. Defaults to `False`.
        index: `"brute_force"`, `"tree"` or `None`, see `build_index`.
        min_cosine_mean: Least mean cosine of the int8 file to the student. Defaults
            to `0.999`.
        min_cosine: Its least cosine of any image. Defaults to `0.98`.
        max_ratio: Largest int8 file as a part of the float one, where that has at
            least 100 kB. Defaults to `0.45`.
        max_drop: By how many points of Recall@1, of 100, any stage may be below
            Keras, see `RetrievalBudget`. Defaults to `0.5`.
        runtimes: Paths of Pythons that have another TensorFlow Lite interpreter:
            each becomes a stage, see `embed_elsewhere`. Defaults to none.
        scorer: `keras.Model` from the student's images to what each is worth to its
            group, in [0, 1], see `keras_distill.tflite.convert_scorer`. Defaults to
            none.
        degradation: Layer that spoils images as those of groups are, with
            `draws_per_image`: the scorer is calibrated and verified on `calibration`
            and `held_out` as they come out of it. Defaults to
            `keras_distill.layers.RandomDegradation()`.
        keep: How many images of a group a device embeds at most where nobody says,
            or `None` for all that weigh something. Defaults to `None`.
        rescale_above, threshold: How scores become weights, see
            `keras_distill.device.group_weights`. Default to `2` and `0.0`.
        max_score_difference: Largest difference of a score of the scorer's int8 file
            to the scorer's own. Defaults to `0.15`.
        max_score_difference_mean: Largest mean difference. Defaults to `0.02`.
        min_rank_correlation: Least rank correlation of the two. Defaults to `0.98`.
        thumbnails: Whether small pictures of the catalogue are written too. Defaults
            to `True`.
        false_match_rate: Float in (0, 1): how often what is no match may be taken for
            one, see `calibrate`; refused where the catalogue cannot support it. With
            `None` it is 0.01, and a catalogue that is too small for that gets no
            thresholds; the manifest says why. Defaults to `None`.
        index_recall: Float in (0, 1], the part of the ten nearest that an index which
            is a tree has to find, see `build_index`. Defaults to `0.99`.
        task_library: Whether there is `task_searcher.tflite` too: the int8 file with
            the catalogue inside, for Android's Task Library, see `task_searcher`.
            Defaults to `False`.
        neighbours: Positive integer, how many the search file gives. Defaults to `10`.
        mode: `"int8"`, or `"int8-qat"`: the int8 file is that of the student as
            `keras_distill.tflite.quantization_aware` trains it on `calibration`,
            where that brings it nearer to the student; the manifest says so at
            `models.int8.quantization_aware`. Defaults to `"int8"`.
        progress: Function `(what, done, total)` called as the work goes on.

    Returns:
        The manifest, a dictionary.

    Raises:
        FileExistsError: If `out` exists and `overwrite` is false.
        VerificationError: A `ValueError`; if a file fails a check, (`check` is
            `"recall"`) Recall@1 drops too far at any stage, or (`"search"`) the search
            file does not find what exact search finds.
        ValueError: If an argument is not as described, if there are options of
            groups and no scorer, or if `out` is to be overwritten and holds
            something else than a bundle.
        OSError: If the disk is full; nothing stands under `out` then.

    Example:

    ```python
    train, gallery = keras_distill.data.load("glyphs", image_size=32)
    calibration = train.read(range(0, len(train), len(train) // 500))
    write_bundle("bundles/glyphs", student, calibration, gallery)
    ```
    """
    check_out(out, overwrite)
    if len(catalogue) < 2:
        raise ValueError(
            "`catalogue` must hold at least two images. "
            f"Received: catalogue={catalogue}"
        )
    tflite.check_mode(mode, INT8_MODES)
    check_max_drop(max_drop)
    check_runtimes(runtimes)
    options = {"keep": keep, "rescale_above": rescale_above, "threshold": threshold}
    check_group_options(scorer, catalogue.image_shape, degradation, options)
    if task_library:
        check_task_library(catalogue, embedder_of(student).output_shape[1])
    report = progress or (lambda what, done, total: None)
    if held_out is None:
        held_out = catalogue.read(spread(len(catalogue), MOST_HELD_OUT))
    held_out = np.asarray(held_out)

    limits = {
        "min_cosine_mean": min_cosine_mean,
        "min_cosine": min_cosine,
        "max_ratio": max_ratio,
    }
    models, figures = embedder_part(
        student, calibration, held_out, mode, limits, report
    )
    embedders = {name: Embedder(model) for name, model in models.items()}
    rows = embedded_rows(student, embedders, catalogue, report)
    budget = RetrievalBudget(rows["keras"], catalogue.labels, max_drop)
    for name, embedder in embedders.items():
        milliseconds = embedder.milliseconds(held_out[0])
        found = budget.nearest(rows[name])
        stage = budget.add(name, found, rows[name], milliseconds)
        figures[name]["recall_at_1"] = stage["recall_at_1"]
        figures[name]["milliseconds"] = milliseconds
    add_mixed_stages(budget, models, rows, catalogue, runtimes, report)
    calibrated = catalogue_thresholds(
        rows["int8"], catalogue.labels, false_match_rate, rows["float32"]
    )
    some = spread(len(held_out), MOST_QUERIES)
    queries = embedders["int8"].embed(held_out[some])

    group = None
    if scorer is not None:
        limits = {
            "max_difference": max_score_difference,
            "max_difference_mean": max_score_difference_mean,
            "min_rank_correlation": min_rank_correlation,
        }
        group = group_part(
            scorer, calibration, held_out, degradation, options, limits, report
        )

    with atomic.folder(out, overwrite) as folder:
        for name, model in models.items():
            (folder / FILES[name]).write_bytes(model)
        report("Indexing", 0, 1)
        written = write_catalogue(
            folder, _names(catalogue), rows["int8"], queries, index, index_recall
        )
        searched = write_search(
            folder, models["int8"], rows["int8"], queries, neighbours
        )
        add_search_stages(budget, folder, written, rows["int8"])
        manifest = {
            **manifest_head(
                student.name,
                catalogue.image_shape,
                rows["int8"].shape[1],
                recipe,
                embedders["int8"].runtime,
            ),
            "models": figures,
            "calibration": {"images": len(calibration)},
            "catalogue": {
                "embedded_by": FILES["int8"],
                "embedder": hashlib.sha256(models["int8"]).hexdigest(),
                **written,
            },
            "search": searched,
            "thresholds": calibrated,
            "retrieval": budget.section(),
            "golden": _golden(folder, catalogue, rows["int8"], group),
        }
        recall = budget.stages[0]["recall_at_1"]
        manifest["student"]["recall_at_1"] = recall
        if thumbnails:
            manifest["thumbnails"] = write_thumbnails(
                folder, thumbnails_of(catalogue), catalogue.image_shape
            )
        if group is not None:
            group.write(folder)
            manifest["group"] = group.section
        if task_library:
            report("Indexing for the Task Library", 0, 1)
            searcher = task_searcher(
                models["int8"],
                rows["int8"],
                catalogue.ids,
                held_out[:GOLDEN_IMAGES],
                index,
                index_recall,
                student.name,
            )
            manifest["task_library"] = searcher.write(folder)
            report("Indexing for the Task Library", 1, 1)
        manifest["files"] = files_of(folder)
        page = report_page(manifest, catalogue, budget.worst("int8", WORST_QUERIES))
        atomic.write_text(folder / PAGE, page)
        write_manifest(folder, manifest)
        # The last check is what a device will do first.
        open_bundle(folder).check_golden()
        report("Indexing", 1, 1)
    return manifest


def _names(catalogue):
    names = {
        "name": catalogue.name,
        "ids": list(catalogue.ids),
        "labels": catalogue.labels.tolist(),
        "class_names": list(catalogue.class_names),
    }
    return names | ({"synonyms": catalogue.synonyms} if catalogue.synonyms else {})


def _golden(folder, catalogue, rows, group):
    chosen = spread(len(catalogue), GOLDEN_IMAGES)
    others = {}
    if group is not None:
        k = min(GOLDEN_NEIGHBOURS, len(catalogue))
        _, indices = exact_search(rows[chosen], rows, k)
        others = group.golden(catalogue, chosen, indices, rows)
    return write_golden(
        folder,
        [catalogue.ids[row] for row in chosen],
        catalogue.read(chosen),
        rows[chosen],
        catalogue.ids,
        rows,
        **others,
    )
