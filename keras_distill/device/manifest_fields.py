"""What a device relies on in a manifest, checked before anything is done with it."""

import math

from keras_distill.device.bundle_error import BundleError


def check_fields(manifest, folder):
    """Refuses a manifest that lacks what a device needs, or has another kind of it.

    Sections of other programs are not looked at.

    Args:
        manifest: Dictionary that has `files`.
        folder: Path of the bundle, for the message.

    Raises:
        BundleError: The message names the field.
    """
    files = manifest["files"]

    def wrong(where, expected, value):
        raise BundleError(
            f"The manifest's {where} must be {expected}. "
            f"Received: {value!r} in {folder}"
        )

    def section(holder, where):
        """The dictionary that the last part of `where` names in `holder`."""
        value = holder.get(where.rpartition(".")[2])
        if not isinstance(value, dict):
            wrong(where, "a dictionary", value)
        return value

    def is_file(holder, where):
        value = holder.get(where.rpartition(".")[2])
        if not isinstance(value, str) or value not in files:
            wrong(where, "one of its files", value)

    def is_number(holder, where, least=-math.inf, kinds=(int, float)):
        value = holder.get(where.rpartition(".")[2])
        if (
            isinstance(value, bool)
            or not isinstance(value, kinds)
            or not value >= least
        ):
            wrong(where, "a number in its range", value)

    models = section(manifest, "models")
    for name in models:
        is_file(section(models, f"models.{name}"), f"models.{name}.file")
    catalogue = section(manifest, "catalogue")
    for name in ("rows", "ids"):
        is_file(catalogue, f"catalogue.{name}")
    if not isinstance(catalogue.get("searchers"), list):
        wrong("catalogue.searchers", "a list", catalogue.get("searchers"))
    if catalogue.get("embedder") is not None:
        is_file(catalogue, "catalogue.embedded_by")
    is_file(section(manifest, "golden"), "golden.file")
    if "search" in manifest:
        search = section(manifest, "search")
        is_file(search, "search.file")
        is_number(search, "search.k", 1, int)
    if manifest.get("thresholds") is not None:
        thresholds = section(manifest, "thresholds")
        calibrated = section(thresholds, "thresholds.models")
        for name in calibrated:
            found = section(calibrated, f"thresholds.models.{name}")
            for kind in ("match", "no_match"):
                where = f"thresholds.models.{name}.{kind}"
                is_number(section(found, where), f"{where}.threshold")
    if "group" in manifest:
        group = section(manifest, "group")
        networks = section(group, "group.models")
        for name in models:
            where = f"group.models.{name}"
            is_file(section(networks, where), f"{where}.file")
        is_number(group, "group.rescale_above", 0)
        is_number(group, "group.threshold", 0)
        if group.get("keep") is not None:
            is_number(group, "group.keep", 1, int)
