"""How an index in a folder is to be searched, as was measured when it was built."""

import json
import pathlib

from keras_distill.device.bundle_error import BundleError

NAME = "settings.json"
# The rows of the index as float32, which ScaNN writes beside it.
ROWS = "dataset.npy"


def read_settings(folder):
    """Reads the settings of an index.

    Args:
        folder: Path of the folder that `keras_distill.retrieval.build_index` filled.

    Returns:
        Dictionary: `kind`, `"brute_force"` or `"tree"`; of a tree also
        `leaves_to_search` and `reorder`, how many partitions are looked into and how
        many candidates are scored again with float32 rows.

    Raises:
        FileNotFoundError: If there is no index.
        BundleError: If the file is not such a dictionary.
    """
    path = pathlib.Path(folder) / NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no index here, {NAME} is missing. Received: folder={folder}"
        )
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        numbers = ("leaves_to_search", "reorder")
        tree = {"brute_force": False, "tree": True}[settings["kind"]]
        if tree and not all(int(settings[name]) > 0 for name in numbers):
            raise ValueError("numbers must be positive")
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            "The settings of an index must be JSON that has its kind, and of a tree "
            "leaves_to_search and reorder. "
            f"Received: {path} ({type(error).__name__}: {error})"
        ) from error
    return settings
