"""The part of a bundle that embeds: the two files of its student, verified."""

from keras_distill import tflite
from keras_distill.tflite.convert import embedder_of

FILES = {"float32": "embed_f32.tflite", "int8": "embed_int8.tflite"}
INT8_MODES = ("int8", "int8-qat")


def embedder_part(student, calibration, held_out, mode, limits, report):
    """Converts a student to float32 and int8, and verifies both files.

    Args:
        student, calibration, held_out, mode: See
            `keras_distill.retrieval.write_bundle`.
        limits: Dictionary of options of `keras_distill.tflite.verify`, for the int8
            file.
        report: Function `(what, done, total)`.

    Returns:
        `models`, `{"float32": bytes, "int8": bytes}`, and `figures`, what the manifest
        says of each.

    Raises:
        VerificationError: If a file fails a check.
        ValueError, TypeError: See `keras_distill.tflite.convert`.
    """
    models, trained = _converted(student, calibration, mode, report)
    report("Verifying", 0, 1)
    exact = models["float32"]
    figures = {
        "float32": tflite.verify(exact, student, held_out),
        "int8": tflite.verify(
            models["int8"], student, held_out, "int8", reference=exact, **limits
        ),
    }
    figures = {name: {"file": FILES[name], **found} for name, found in figures.items()}
    if trained is not None:
        figures["int8"]["quantization_aware"] = trained.facts()
    report("Verifying", 1, 1)
    return models, figures


def _converted(student, calibration, mode, report):
    """`{name: bytes}` of both files, and what training for int8 did, or `None`."""
    networks, trained = dict.fromkeys(FILES, student), None
    if mode == "int8-qat":
        what = "Training for int8"
        trained = tflite.quantization_aware(
            embedder_of(student),
            calibration,
            progress=lambda done, total: report(what, done, total),
        )
        networks["int8"] = trained.student
    models = {}
    for i, (name, network) in enumerate(networks.items()):
        report("Converting", i, len(networks))
        models[name] = tflite.add_metadata(
            tflite.convert(network, name, calibration),
            student.name,
            f"Embeds an image as a row of length one. Trunk in {name}.",
        )
    report("Converting", len(networks), len(networks))
    return models, trained
