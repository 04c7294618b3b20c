"""The manifest of a bundle: what each file is, and proof that it is still that."""

import hashlib
import json
import pathlib

from keras_distill.device.bundle_error import BundleError

FORMAT_VERSION = 1
NAME = "manifest.json"


def read_manifest(folder):
    """Reads the manifest of a bundle and checks every file that it lists.

    Args:
        folder: Path of the bundle.

    Returns:
        The manifest, a dictionary.

    Raises:
        FileNotFoundError: If there is no such folder or no manifest in it.
        BundleError: If the manifest cannot be read or has a format newer than
            `FORMAT_VERSION`; if a file is missing, or is not the one that the
            bundle was written with, by its size and SHA-256.
    """
    folder = pathlib.Path(folder)
    if not (folder / NAME).is_file():
        raise FileNotFoundError(
            f"A bundle is a folder that holds {NAME}. Received: path={folder}"
        )
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        version, files = manifest["format_version"], manifest["files"]
        if not isinstance(files, dict):
            raise TypeError("files must be a dictionary")
    # A nesting of thousands is no manifest either.
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(
            f"The manifest of a bundle must be JSON that has a format version and a "
            f"list of files. Received: {folder / NAME} ({type(error).__name__}: "
            f"{error})"
        ) from error
    if isinstance(version, bool) or version != FORMAT_VERSION:
        raise BundleError(
            f"This keras_distill reads bundles of format version {FORMAT_VERSION}"
            f"{_advice(version)}. Received: format_version={version!r} in {folder}"
        )
    for name, facts in sorted(files.items()):
        _check_file(folder, name, facts)
    return manifest


def file_facts(path):
    """`{"bytes": size, "sha256": hexadecimal digest}` of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _check_file(folder, name, facts):
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(
            "Every file of a bundle must lie inside it. "
            f"Received: {name!r} in the manifest of {folder}"
        )
    if not path.is_file():
        raise BundleError(
            f"A file of the bundle is missing. Received: {name!r} in {folder}"
        )
    found = file_facts(path)
    if found != facts:
        raise BundleError(
            "A file of the bundle has been altered since it was written: expected "
            f"{facts}. Received: {name!r} with {found} in {folder}"
        )


def _advice(version):
    newer = isinstance(version, int) and version > FORMAT_VERSION
    return "; a newer one is needed for this bundle" if newer else ""
