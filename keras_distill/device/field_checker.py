"""Refuses what is not as it must be in a manifest, by the name of the field."""

import math

from keras_distill.device.bundle_error import BundleError


class FieldChecker:
    """Looks at the values of a manifest.

    A field is named by its path from the top, such as `golden.file`; it is looked up
    by the last part of that, in the dictionary that holds it.

    Args:
        manifest: Dictionary that has `files`.
        folder: Path of the bundle, for the message.
    """

    def __init__(self, manifest, folder):
        self._files, self._folder = manifest["files"], folder

    def wrong(self, where, expected, value):
        """Raises a BundleError that names the field."""
        raise BundleError(
            f"The manifest's {where} must be {expected}. "
            f"Received: {value!r} in {self._folder}"
        )

    def section(self, holder, where):
        """The dictionary that the field is; raises BundleError if it is none."""
        value = _at(holder, where)
        if not isinstance(value, dict):
            self.wrong(where, "a dictionary", value)
        return value

    def is_file(self, holder, where):
        """Raises BundleError if the field names no file of the manifest."""
        value = _at(holder, where)
        if not isinstance(value, str) or value not in self._files:
            self.wrong(where, "one of its files", value)

    def is_number(
        self, holder, where, least=-math.inf, kinds=(int, float), most=math.inf
    ):
        """Raises BundleError if the field is no number from `least` to `most`."""
        value = _at(holder, where)
        if not _is_number(value, least, kinds, most):
            self.wrong(where, "a number in its range", value)

    def are_positive(self, holder, where, kinds=(int, float)):
        """Raises BundleError if the field is no list of positive, finite numbers."""
        value = _at(holder, where)
        if not (
            isinstance(value, list)
            and value
            and all(_is_number(n, 1e-6, kinds, 1e6) for n in value)
        ):
            self.wrong(where, "a list of positive numbers", value)

    def are_names(self, holder, where):
        """Raises BundleError if the field is no list of different strings."""
        value = _at(holder, where)
        if not (
            isinstance(value, list)
            and value
            and all(isinstance(name, str) for name in value)
            and len(set(value)) == len(value)
        ):
            self.wrong(where, "a list of different names", value)


def _at(holder, where):
    return holder.get(where.rpartition(".")[2])


def _is_number(value, least, kinds, most):
    return (
        isinstance(value, kinds)
        and not isinstance(value, bool)
        and least <= value <= most
    )
