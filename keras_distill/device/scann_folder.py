"""Search with a ScaNN index that lies in a folder, where ScaNN is installed."""

import importlib
import importlib.util
import pathlib
import sys

import numpy as np

from keras_distill.device.load_array import load_array
from keras_distill.device.nearest import nearest
from keras_distill.device.quiet import without_chatter
from keras_distill.device.scann_settings import ROWS, read_settings


def has_scann():
    """Whether ScaNN is installed."""
    return importlib.util.find_spec("scann") is not None


def import_scann():
    """The module `scann`, imported without TensorFlow.

    ScaNN imports TensorFlow if it can, for operators that are not used here: that
    takes seconds, and beside another TensorFlow than it was built for it crashes.

    Raises:
        ImportError: If ScaNN is not installed or cannot be imported.
    """
    if not has_scann():
        raise ImportError(
            "ScaNN is not installed (it exists for Linux on x86-64 and aarch64, "
            "Python up to 3.13): pip install scann, or search with numpy."
        )
    if "scann" in sys.modules:
        return sys.modules["scann"]
    missing = object()
    tensorflow = sys.modules.get("tensorflow", missing)
    sys.modules["tensorflow"] = None  # makes `import tensorflow` fail
    try:
        return importlib.import_module("scann")
    finally:
        if tensorflow is missing:
            del sys.modules["tensorflow"]
        else:
            sys.modules["tensorflow"] = tensorflow


class ScannFolder:
    """A ScaNN index that was saved to a folder.

    Args:
        folder: Path of the folder; it may have been moved since.

    Attributes:
        rows: float32 array `(N, D)`, what was indexed.
        settings: Dictionary, how it is searched, see `read_settings`.

    Raises:
        FileNotFoundError: If there is no index.
        ImportError: If ScaNN is not installed.
    """

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        if not (folder / "scann_config.pb").is_file():
            raise FileNotFoundError(
                f"There is no ScaNN index here. Received: folder={folder}"
            )
        self.settings = read_settings(folder)
        scann = import_scann()
        self.rows = load_array(folder / ROWS)
        with without_chatter():
            self._searcher = scann.scann_ops_pybind.load_searcher(str(folder))

    def search(self, queries, k, leaves_to_search=None, reorder=None):
        """The `k` rows nearest to each query, as ScaNN finds them.

        A query for which it finds fewer (it looks at a part of the rows only) is
        answered by exact search.

        Args:
            queries: float32 array `(Q, D)`, rows of length one.
            k: Integer in 1..N.
            leaves_to_search, reorder: Instead of those of the settings.

        Returns:
            As `nearest`: `scores (Q, k)` float32 and `indices (Q, k)` int64.
        """
        options = {}
        if self.settings["kind"] == "tree":
            reorder = max(reorder or self.settings["reorder"], k)
            options["leaves_to_search"] = (
                leaves_to_search or self.settings["leaves_to_search"]
            )
            options["pre_reorder_num_neighbors"] = reorder
        indices, scores = self._searcher.search_batched(
            np.ascontiguousarray(queries, np.float32), final_num_neighbors=k, **options
        )
        scores, indices = np.array(scores), indices.astype(np.int64)
        short = np.isnan(scores).any(axis=1)
        if short.any():
            scores[short], indices[short] = nearest(queries[short], self.rows, k)
        return scores, indices

    def add(self, rows):
        """Adds rows behind those that are there, in memory.

        Args:
            rows: float32 array `(M, D)`, of length one.
        """
        rows = np.ascontiguousarray(rows, np.float32)
        with without_chatter():
            self._searcher.searcher.upsert([None] * len(rows), rows, 1)
        self.rows = np.concatenate([self.rows, rows])

    def delete(self, index):
        """Takes one row out, in memory; the last row gets its number.

        Args:
            index: Integer, its number.
        """
        with without_chatter():
            self._searcher.searcher.delete([int(index)])
        self.rows[index] = self.rows[-1]
        self.rows = self.rows[:-1]
