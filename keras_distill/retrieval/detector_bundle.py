"""Write a detector for a phone, and proof that it detects there."""

import numpy as np

from keras_distill import atomic, tflite
from keras_distill.device.anchors import RATIOS
from keras_distill.device.detector import OUTPUTS, Detector
from keras_distill.device.detector_bundle import open_detector
from keras_distill.device.detector_golden import golden_arrays
from keras_distill.device.manifest import FORMAT_VERSION
from keras_distill.device.read_image import PADDING
from keras_distill.retrieval.bundle_manifest import (
    fingerprinted,
    versions,
    write_manifest,
)
from keras_distill.retrieval.check_out import check_out
from keras_distill.retrieval.detection_budget import DetectionBudget, check_ap_drop
from keras_distill.retrieval.runtime_stage import check_runtimes, detect_elsewhere
from keras_distill.retrieval.score_threshold import score_threshold
from keras_distill.retrieval.spread import spread
from keras_distill.tflite.convert_detector import network_of

FILES = {"float32": "detect_f32.tflite", "int8": "detect_int8.tflite"}
CALIBRATION_IMAGES, COMPARED_IMAGES, GOLDEN_IMAGES = 200, 32, 4
GOLDEN = "golden.npz"
CANDIDATES = 1000  # as `predict` has it


def write_detector_bundle(
    out,
    detector,
    train,
    evaluation,
    recipe=None,
    overwrite=False,
    threshold=None,
    max_drop=1.0,
    max_ratio=0.6,
    runtimes=(),
    progress=None,
):
    """Exports a RetinaNet as a folder that `device.open_detector` opens.

    The detector is converted to float32 and to int8, and both files are verified
    against it (see `keras_distill.tflite.verify_detector`). Their average precision is
    measured on the evaluation images, the boxes made by the very code that makes them
    on a device; with `runtimes` that of the int8 file in other interpreters too. When a
    check fails or a stage costs too much, nothing is written.

    The folder holds `manifest.json` (classes, sizes, how anchors are laid and boxes
    decoded, the threshold, all figures), `detect_f32.tflite`, `detect_int8.tflite` and
    `golden.npz`, some images with what the int8 file gives, to check a device with.

    Args:
        out: Path of the folder to write.
        detector: `models.RetinaNet`, or a `Distiller` with such a student: what taught
            it is no part of the bundle.
        train: `data.BoxSet` that it was trained on: up to 200 of the images set the
            ranges of the int8 file and its threshold.
        evaluation: `data.BoxSet` to measure on, of the same classes.
        recipe: Dictionary that says how the detector was trained, kept in the manifest
            with its fingerprint. Defaults to none.
        overwrite: Whether a bundle that is there already is replaced; it stays
            untouched until the new one is complete. Defaults to `False`.
        threshold: Float in [0, 1], above which score something is found where nobody
            says. Defaults to what has the best F1 on the images of the calibration,
            see `score_threshold`.
        max_drop: By how many points of AP, of 100, any stage may be below Keras.
            Defaults to `1.0`.
        max_ratio: Largest int8 file as a part of the float one, where that has at
            least 100 kB. Defaults to `0.6`: the heads are in the graph once a level,
            and their names and scales do not shrink.
        runtimes: Paths of Pythons that have another TensorFlow Lite interpreter: each
            becomes a stage. Defaults to none.
        progress: Function `(what, done, total)` called as the work goes on.

    Returns:
        The manifest, a dictionary.

    Raises:
        FileExistsError: If `out` exists and `overwrite` is false.
        VerificationError: A `ValueError`; if a file fails a check, or (`check` is
            `"precision"`) AP drops too far at any stage.
        ValueError: If an argument is not as described, the detector is no RetinaNet,
            data have other sizes or classes than it, or it finds nothing to choose a
            threshold by.
        ImportError: If pycocotools is not installed.
        OSError: If the disk is full; nothing stands under `out` then.

    Example:

    ```python
    train, test = keras_distill.data.load_boxes("cells", detector.image_shape[:2])
    write_detector_bundle("bundles/cells", detector, train, test)
    ```
    """
    check_out(out, overwrite)
    check_ap_drop(max_drop)
    check_runtimes(runtimes)
    detector = network_of(detector)
    _check_data(detector, train, evaluation)
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(
            f"`threshold` must lie in [0, 1]. Received: threshold={threshold}"
        )
    from keras_distill.models.retinanet import SCALES

    report = progress or (lambda what, done, total: None)
    chosen = train.subset(spread(len(train), CALIBRATION_IMAGES))
    calibration = chosen.images.read(range(len(chosen)))
    models, figures = _converted(detector, calibration, evaluation, max_ratio, report)
    options = {
        "least_score": detector.least_score,
        "overlap": detector.overlap,
        "limit": detector.limit,
        "candidates": CANDIDATES,
    }
    devices = {
        name: Detector(model, detector.anchors, **options)
        for name, model in models.items()
    }
    budget = _measured(
        detector, models["int8"], devices, evaluation, max_drop, runtimes, report
    )
    for stage in budget.stages[1 : 1 + len(FILES)]:
        figures[stage["name"]] |= {k: stage[k] for k in ("ap", "ap50", "milliseconds")}
    calibrated = {"threshold": threshold}
    if threshold is None:
        calibrated = _threshold(devices["int8"], chosen, calibration, report)

    with atomic.folder(out, overwrite) as folder:
        for name, model in models.items():
            (folder / FILES[name]).write_bytes(model)
        rows = spread(len(evaluation), GOLDEN_IMAGES)
        golden = golden_arrays(
            devices["int8"],
            evaluation.images.read(rows),
            calibrated["threshold"],
        )
        np.savez_compressed(folder / GOLDEN, **golden)
        manifest = {
            "format_version": FORMAT_VERSION,
            "kind": "detector",
            "written_by": versions(devices["int8"].runtime),
            "signature": tflite.DETECT_SIGNATURE,
            "input": {
                "name": tflite.INPUT,
                "dtype": "uint8",
                "shape": list(detector.image_shape),
                "range": [0, 255],
                # By one factor until it fits, at the top left.
                "fit": "letterbox",
                "padding": PADDING,
            },
            "outputs": {
                name: [1, len(detector.anchors), size]
                for name, size in zip(OUTPUTS, (detector.num_classes, 4), strict=True)
            },
            "class_names": list(evaluation.class_names),
            "anchors": {
                "strides": list(detector.strides.values()),
                "size": float(detector.anchor_size),
                "scales": list(SCALES),
                "ratios": list(RATIOS),
            },
            "decoding": {
                "threshold": calibrated["threshold"],
                **{name: options[name] for name in ("overlap", "limit", "candidates")},
            },
            "student": {"name": detector.name, "ap": budget.stages[0]["ap"]},
            "models": figures,
            "recipe": fingerprinted(recipe),
            "calibration": {"images": len(calibration), **calibrated},
            "detection": budget.section(),
            "golden": {
                "file": GOLDEN,
                "images": len(rows),
                "ids": [evaluation.ids[row] for row in rows],
            },
        }
        write_manifest(folder, manifest)
        # The last check is what a device will do first.
        open_detector(folder).check_golden()
    return manifest


def _check_data(detector, train, evaluation):
    for role, boxes in {"train": train, "evaluation": evaluation}.items():
        if boxes.image_shape != detector.image_shape or not len(boxes):
            raise ValueError(
                f"`{role}` must hold images of {detector.image_shape}, which the "
                f"detector takes. Received: {role}={boxes}"
            )
        if len(boxes.class_names) != detector.num_classes:
            raise ValueError(
                f"`{role}` must have the {detector.num_classes} classes of the "
                f"detector. Received: {role}={boxes}"
            )
    if train.class_names != evaluation.class_names:
        raise ValueError(
            "`train` and `evaluation` must have the same classes. Received: "
            f"{train.class_names} and {evaluation.class_names}"
        )


def _converted(detector, calibration, evaluation, max_ratio, report):
    """The bytes of both files, and what verifying them measured."""
    models, figures = {}, {}
    compared = evaluation.images.read(spread(len(evaluation), COMPARED_IMAGES))
    for i, mode in enumerate(FILES):
        report("Converting", i, len(FILES))
        models[mode] = tflite.convert_detector(detector, mode, calibration)
        figures[mode] = {
            "file": FILES[mode],
            **tflite.verify_detector(
                models[mode],
                detector,
                compared,
                mode,
                reference=models["float32"],
                max_ratio=max_ratio,
            ),
        }
    report("Converting", len(FILES), len(FILES))
    return models, figures


def _measured(detector, model, devices, evaluation, max_drop, runtimes, report):
    """The budget, with a stage for each file and each runtime."""
    from keras_distill.metrics.detect import detect

    what = "Detecting"
    total = len(evaluation) * (1 + len(devices))
    report(what, 0, total)
    budget = DetectionBudget(evaluation, detect(detector, evaluation), max_drop)
    images = evaluation.images.read(range(len(evaluation)))
    for place, (name, device) in enumerate(devices.items(), 1):
        before = place * len(images)
        found = device.detect_all(
            images, lambda done, before=before: report(what, before + done, total)
        )
        budget.add(name, found, device.milliseconds(images[0]))
    for i, python in enumerate(runtimes):
        report("Detecting with other runtimes", i, len(runtimes))
        found, about = detect_elsewhere(
            python, model, devices["int8"], evaluation.images
        )
        name = f"int8, {about['runtime']} {about['version']}"
        budget.add(name, found, about["milliseconds"])
        report("Detecting with other runtimes", i + 1, len(runtimes))
    return budget


def _threshold(device, boxes, images, report):
    """What has the best F1 on images that were trained on."""
    report("Choosing a threshold", 0, len(images))
    found = device.detect_all(
        images, lambda done: report("Choosing a threshold", done, len(images))
    )
    chosen = score_threshold(boxes.boxes, boxes.labels, found, boxes.ignored)
    return chosen._asdict()
