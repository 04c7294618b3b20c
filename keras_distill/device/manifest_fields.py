"""What a device relies on in a manifest, checked before anything is done with it."""

from keras_distill.device.bundle_error import BundleError
from keras_distill.device.field_checker import FieldChecker

# What a bundle may hold, and what opens it. Of embedders manifests say nothing.
KINDS = {"embedder": "open_bundle", "detector": "open_detector"}


def check_kind(manifest, folder, kind):
    """Refuses a bundle that holds something else than is asked for.

    Args:
        manifest: Dictionary.
        folder: Path of the bundle, for the message.
        kind: One of `KINDS`.

    Raises:
        BundleError: The message says what opens such a bundle.
    """
    found = manifest.get("kind", "embedder")
    if found == kind:
        return
    advice = ""
    if isinstance(found, str) and found in KINDS:
        advice = f", this is one of {_an(found)} (keras_distill.device.{KINDS[found]})"
    raise BundleError(
        f"The bundle must be one of {_an(kind)}"
        f"{advice}. Received: kind={found!r} in {folder}"
    )


def _an(kind):
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def check_fields(manifest, folder):
    """Refuses a manifest that lacks what a device needs, or has another kind of it.

    Sections of other programs are not looked at.

    Args:
        manifest: Dictionary that has `files`, of an embedder's bundle.
        folder: Path of the bundle, for the message.

    Raises:
        BundleError: The message names the field.
    """
    check = FieldChecker(manifest, folder)
    models = check.section(manifest, "models")
    for name in models:
        check.is_file(check.section(models, f"models.{name}"), f"models.{name}.file")
    catalogue = check.section(manifest, "catalogue")
    for name in ("rows", "ids"):
        check.is_file(catalogue, f"catalogue.{name}")
    if not isinstance(catalogue.get("searchers"), list):
        check.wrong("catalogue.searchers", "a list", catalogue.get("searchers"))
    if catalogue.get("embedder") is not None:
        check.is_file(catalogue, "catalogue.embedded_by")
    check.is_file(check.section(manifest, "golden"), "golden.file")
    if "search" in manifest:
        search = check.section(manifest, "search")
        check.is_file(search, "search.file")
        check.is_number(search, "search.k", 1, int)
    if manifest.get("thresholds") is not None:
        thresholds = check.section(manifest, "thresholds")
        calibrated = check.section(thresholds, "thresholds.models")
        for name in calibrated:
            found = check.section(calibrated, f"thresholds.models.{name}")
            for kind in ("match", "no_match"):
                where = f"thresholds.models.{name}.{kind}"
                facts = check.section(found, where)
                check.is_number(facts, f"{where}.threshold")
                check.is_number(facts, f"{where}.true_rate", 0)
    if "group" in manifest:
        group = check.section(manifest, "group")
        networks = check.section(group, "group.models")
        for name in models:
            where = f"group.models.{name}"
            check.is_file(check.section(networks, where), f"{where}.file")
        check.is_number(group, "group.rescale_above", 0)
        check.is_number(group, "group.threshold", 0)
        if group.get("keep") is not None:
            check.is_number(group, "group.keep", 1, int)


def check_detector_fields(manifest, folder):
    """`check_fields` of a detector's bundle.

    Args:
        manifest, folder: See `check_fields`.

    Raises:
        BundleError: The message names the field.
    """
    check = FieldChecker(manifest, folder)
    models = check.section(manifest, "models")
    for name in models:
        check.is_file(check.section(models, f"models.{name}"), f"models.{name}.file")
    check.are_names(manifest, "class_names")
    anchors = check.section(manifest, "anchors")
    check.are_positive(anchors, "anchors.strides", int)
    check.is_number(anchors, "anchors.size", 1e-6, most=1e6)
    check.are_positive(anchors, "anchors.scales")
    check.are_positive(anchors, "anchors.ratios")
    decoding = check.section(manifest, "decoding")
    check.is_number(decoding, "decoding.threshold", 0, most=1)
    check.is_number(decoding, "decoding.overlap", 0, most=1)
    check.is_number(decoding, "decoding.limit", 1, int)
    check.is_number(decoding, "decoding.candidates", 1, int)
    check.is_file(check.section(manifest, "golden"), "golden.file")
